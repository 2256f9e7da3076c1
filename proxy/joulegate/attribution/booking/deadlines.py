"""When a window is booked: what is booked stays, so it waits for all that can become known about it."""

from collections.abc import Sequence

import numpy as np

from joulegate.attribution.input.windows import Window
from joulegate.attribution.maths.arrays import Floats
from joulegate.units import NANO

PATIENCE = 120 * NANO
"""ns: how long a window waits for requests that do not end, and a request for a counter that is gone."""


class Deadlines:
    """The terms of one group; all times in ns."""

    def __init__(self, settle: int, swift: int, origin: int, *, learns: bool) -> None:
        self._settle = settle
        self._origin = origin
        self._learns = learns
        self.hasty = settle if learns else swift
        """How long a window waits at least after the last end in it: for the fit, if the rule learns."""

    def due(self, window: Window, ends: Floats) -> float:
        """Return when a window is booked, by the ends in s of the requests that touch it; some still run."""
        if len(ends) == 0:
            return window.end + self.hasty
        closed = ends[np.isfinite(ends)]
        last_call = float(window.end + PATIENCE)
        if len(closed):
            last_call = min(last_call, self._ns(float(closed.min())) + self._settle)
        if len(closed) < len(ends) or self._learns:
            return last_call
        return min(last_call, self._ns(float(closed.max())) + self.hasty)

    def _ns(self, t: float) -> int:
        return self._origin + round(t * NANO)


def stretch(windows: Sequence[Window], some: Sequence[Window]) -> Sequence[Window]:
    """Return the consecutive windows from the first to the last of some."""
    chosen = {id(window) for window in some}
    places = [place for place, window in enumerate(windows) if id(window) in chosen]
    return windows[places[0] : places[-1] + 1] if places else []
