"""How far the counters of a group show the past."""

from msgspec import Struct
from msgspec.structs import replace

from joulegate.attribution.maths.arrays import Seconds

USUAL_LAG_S = 0.030
LAGS_S = tuple(0.02 * step for step in range(9))
"""Candidates for the lag of a counter."""
SLOW_LAGS_S = tuple(0.3 + 0.05 * step for step in range(13))
"""Candidates for power readings, which are means of the last second."""
USUAL_SLOW_LAG_S = 0.55
"""Half of the second that such readings are the mean of, and a little."""
ENGINE_DELAY_S = 0.05
"""After the end of a request its last work is done within this time."""


class CounterLag(Struct, frozen=True):
    """The lag in use, and those that can be."""

    found: Seconds = USUAL_LAG_S
    slow: bool = False
    """The readings are means over a second."""

    @property
    def used(self) -> Seconds:
        """Return the lag by which windows are shifted."""
        return USUAL_SLOW_LAG_S if self.slow and self.found < SLOW_LAGS_S[0] else self.found

    @property
    def candidates(self) -> tuple[Seconds, ...]:
        """Return the lags that can be."""
        return SLOW_LAGS_S if self.slow else LAGS_S

    @property
    def reach(self) -> Seconds:
        """Return the time after the end of a request at which its energy is surely on the counter."""
        return self.candidates[-1] + ENGINE_DELAY_S

    def updated(self, found: Seconds | None, *, slow: bool) -> "CounterLag":
        """Return the lag with what was found since; ``None`` changes nothing."""
        if slow == self.slow and found in (None, self.found):
            return self
        return replace(self, found=self.found if found is None else found, slow=slow)
