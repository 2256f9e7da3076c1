"""What the latencies of whole answers show of an engine that streams nothing.

latency = step x answer tokens + tau x prompt tokens + rest: robust and non-negative. With it the decoding of
each long answer is known roughly, and all long answers together give the pace of the engine over time.
"""

from collections import OrderedDict

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from joulegate.attribution.maths.arrays import Floats, Seconds
from joulegate.attribution.maths.fit import bend, nonnegative

KEPT_ANSWERS = 500
ENOUGH_ANSWERS = 8
FIT_ROUNDS = 5
LONG_STEPS = 20
"""Steps of an answer that is long enough to show the engine's pace."""
PACE_SWEEPS = 8


class Decodings(Struct, frozen=True):
    """The decoding of whole answers as their latencies suggest, a place in each column for each of them."""

    start: Floats
    end: Floats
    steps: Floats

    @classmethod
    def none(cls) -> "Decodings":
        """Return no decodings."""
        return cls(np.empty(0), np.empty(0), np.empty(0))

    def and_(self, others: "Decodings") -> "Decodings":
        """Return these and others."""
        return Decodings(
            np.concatenate([self.start, others.start]),
            np.concatenate([self.end, others.end]),
            np.concatenate([self.steps, others.steps]),
        )

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Decodings":
        """Return the chosen ones."""
        return Decodings(self.start[chosen], self.end[chosen], self.steps[chosen])

    def __len__(self) -> int:
        return len(self.start)


class Latency:
    """A robust line through the latencies of whole answers."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[float, float, float]] = OrderedDict()
        self._fit: tuple[float, float, float] | None = None

    def learn(self, key: str, took: Seconds, out: float, prompt: float) -> None:
        """Add one answer."""
        self._seen[key] = (took, out, prompt)
        self._fit = None
        while len(self._seen) > KEPT_ANSWERS:
            self._seen.popitem(last=False)

    def line(self) -> tuple[float, float, float] | None:
        """Return seconds per step, per prompt token, and the constant; ``None`` while too few were seen."""
        if len(self._seen) < ENOUGH_ANSWERS:
            return None
        if self._fit is None:
            self._fit = _line(np.array(list(self._seen.values())))
        return self._fit


def _line(seen: Floats) -> tuple[float, float, float]:
    took = seen[:, 0]
    features = np.column_stack([seen[:, 1], seen[:, 2], np.ones(len(seen))])
    relative = 1 / np.maximum(took, 0.05) ** 2
    weights, x = relative, np.zeros(3)
    for _ in range(FIT_ROUNDS):
        x = nonnegative((features * weights[:, None]).T @ features, (features * weights[:, None]).T @ took)
        weights = relative * bend((took - features @ x) / np.maximum(took, 0.05))
    return float(x[0]), float(x[1]), float(x[2])


def pace(decodings: Decodings, edges: Floats, usual: float) -> Floats:
    """Return the steps of the engine in each tick so that every answer's steps fit into its decoding.

    Multiplicative corrections from a flat start, as in iterative tomography; a tick without an answer keeps
    the usual pace ``usual`` (steps a tick).
    """
    rate = np.full(len(edges) - 1, usual)
    long = decodings.where((decodings.steps >= LONG_STEPS) & (decodings.end > decodings.start))
    last = len(edges) - 1
    low = np.clip(np.searchsorted(edges, long.start), 0, last)
    high = np.clip(np.searchsorted(edges, long.end), 0, last)
    inside = (high - low) >= 2
    if not inside.any():
        return rate
    low, high, long = low[inside], high[inside], long.where(inside)
    steps = long.steps * (edges[high] - edges[low]) / (long.end - long.start)
    for _ in range(PACE_SWEEPS):
        done = np.concatenate([[0.0], np.cumsum(rate)])
        wanted = np.clip(steps / np.maximum(done[high] - done[low], 1e-9), 0.2, 5.0)
        rate *= _mean_over(wanted, low, high, last)
    return rate


def _mean_over(values: Floats, low: np.ndarray, high: np.ndarray, count: int) -> Floats:
    """Return the mean of the values that cover each tick; 1 where none does."""
    total, cover = np.zeros(count + 1), np.zeros(count + 1)
    np.add.at(total, low, values)
    np.add.at(total, high, -values)
    np.add.at(cover, low, 1.0)
    np.add.at(cover, high, -1.0)
    total, cover = np.cumsum(total)[:-1], np.cumsum(cover)[:-1]
    return np.where(cover > 0.5, total / np.maximum(cover, 1.0), 1.0)
