"""Which requests touch which windows, for many of both."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import table
from joulegate.attribution.input.windows import Window
from joulegate.attribution.maths.arrays import Floats, Seconds
from joulegate.units import NANO, Nanoseconds


class WindowOverlap:
    """The times of many requests, in s after the origin. A request that runs has no end yet."""

    def __init__(self, requests: Iterable[RequestInput], origin: Nanoseconds, reach: Seconds) -> None:
        self.requests: Sequence[RequestInput] = list(requests)
        self._origin = origin
        rows = table(self.requests)
        self._starts, self.ends = rows["start"], rows["end"]
        self._until = self.ends + reach

    def touching(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return for each request whether the window can hold energy of it: counters lag a little."""
        found: npt.NDArray[np.bool_] = (self._starts < self._s(window.end)) & (
            self._until > self._s(window.start)
        )
        return found

    def within(self, window: Window) -> Sequence[RequestInput]:
        """Return the requests that touch a window."""
        return [self.requests[place] for place in np.flatnonzero(self.touching(window)).tolist()]

    def waiting(self, pending: Sequence[Window], cursor: Nanoseconds | None) -> npt.NDArray[np.bool_]:
        """Return for each request whether energy of it may still come, from a window or from time not cut."""
        if cursor is None:
            return np.ones(len(self.requests), dtype=bool)
        late: npt.NDArray[np.bool_] = self._until > self._s(cursor)
        if not pending:
            return late
        starts = np.array([self._s(window.start) for window in pending] + [np.inf])
        ends = np.array([self._s(window.end) for window in pending])
        first: Floats = starts[np.searchsorted(ends, self._starts, "right")]
        return late | (first < self._until)

    def _s(self, t: Nanoseconds) -> Seconds:
        return (t - self._origin) / NANO
