"""When a window is booked: what is booked stays, so it waits for all that can become known about it."""

from collections.abc import Sequence

import numpy as np

from joulegate.attribution.input.windows import Window
from joulegate.attribution.maths.arrays import Floats, Seconds
from joulegate.units import NANO, Nanoseconds, nanoseconds

LONGEST_WAIT = nanoseconds(120)
"""How long a window waits for requests that do not end, and a request for a counter that is gone."""


class Deadlines:
    """The deadlines of one group."""

    def __init__(self, settle: Nanoseconds, least: Nanoseconds, origin: Nanoseconds, *, learns: bool) -> None:
        self._settle = settle
        self._origin = origin
        self._learns = learns
        self.least_wait = settle if learns else least
        """How long a window waits at least after the last end in it: for the fit, if the rule learns."""

    def due(self, window: Window, ends: Floats) -> float:
        """Return when a window is booked, by the ends in s of the requests that touch it; some still run."""
        if len(ends) == 0:
            return window.end + self.least_wait
        closed = ends[np.isfinite(ends)]
        latest = float(window.end + LONGEST_WAIT)
        if len(closed):
            latest = min(latest, self._ns(float(closed.min())) + self._settle)
        if len(closed) < len(ends) or self._learns:
            return latest
        return min(latest, self._ns(float(closed.max())) + self.least_wait)

    def _ns(self, t: Seconds) -> Nanoseconds:
        return Nanoseconds(self._origin + round(t * NANO))


def stretch(windows: Sequence[Window], some: Sequence[Window]) -> Sequence[Window]:
    """Return the consecutive windows from the first to the last of some."""
    chosen = {id(window) for window in some}
    places = [place for place, window in enumerate(windows) if id(window) in chosen]
    return windows[places[0] : places[-1] + 1] if places else []
