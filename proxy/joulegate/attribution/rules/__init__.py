"""The rules by which a window's energy is shared: one file a rule, one small interface."""

from typing import Protocol

from joulegate.attribution.features.window_features import Scene, Shares


class Rule(Protocol):
    """Shares energy among the requests of a scene."""

    name: str
    learns: bool
    """It fits coefficients: its figures are final only after a later fit."""
    queue_pays: bool
    """It looks at requests from arrival to end, not at their work."""

    @property
    def lag(self) -> float | None:
        """Return the lag of the counters in s, if the rule found one."""
        ...

    def look(self, scene: Scene) -> None:
        """Record what happened in a scene."""
        ...

    def learn(self, idle_power: float, now: int) -> None:
        """Fit to all that was noted; idle power in W, time in ns."""
        ...

    def share(self, scene: Scene) -> Shares:
        """Return each window's energy to the requests in it, to idle and to nobody."""
        ...
