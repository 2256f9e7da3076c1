"""What a unit of work costs, from blocks with known work: the truth under load is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from features import Array, Windows, windows
from records import COLUMNS, Row, Run

TRIM = 300_000_000
"""ns at the start of a block in which clocks, power and caches settle."""
FITTED = ("decode", "prefill", "unet")
"""Kinds of blocks that the coefficients come from; the mixes are never among them."""
GROUPS = (("step", "tok", "kv", "pf", "pfx"), ("istep", "mps", "mps2"))


@dataclass(frozen=True)
class Truth:
    """Watts and joules a unit."""

    idle: float
    clocks_up: float
    costs: dict[str, float]

    def predict(self, found: Windows) -> Array:
        """Return the joules of each window."""
        costs = np.array([self.costs[name] for name in COLUMNS])
        return self.idle * found.time + self.clocks_up * found.active + found.work @ costs


@dataclass(frozen=True)
class Line:
    """Joules of a decode step as ``fixed + each x batch``."""

    context: int
    fixed: float
    each: float
    worst: float
    """Largest deviation, as a part."""


def nonnegative(a: Array, b: Array) -> Array:
    """Return the x >= 0 with the least squared error, exactly: the best of all subsets of few columns."""
    best, least = np.zeros(a.shape[1]), float(b @ b)
    scale = np.linalg.norm(a, axis=0)
    usable = [column for column in range(a.shape[1]) if scale[column] > 0]
    for count in range(1, len(usable) + 1):
        for chosen in combinations(usable, count):
            part = a[:, chosen] / scale[list(chosen)]
            x, *_ = np.linalg.lstsq(part, b, rcond=None)
            error = float(np.sum((part @ x - b) ** 2))
            if np.all(x >= 0) and error < least:
                best, least = np.zeros(a.shape[1]), error
                best[list(chosen)] = x / scale[list(chosen)]
    return best


def truth(run: Run, idle: float, clocks_up: float, lag: int) -> Truth:
    """Fit language and images each on their own blocks."""
    costs = dict.fromkeys(COLUMNS, 0.0)
    for names in GROUPS:
        columns = [COLUMNS.index(name) for name in names]
        found = block_windows(run, FITTED, lag)
        mine = found.work[:, columns].sum(axis=1) > 0
        rest = found.energy - idle * found.time - clocks_up * found.active
        x = nonnegative(found.work[mine][:, columns], rest[mine])
        costs |= dict(zip(names, map(float, x), strict=True))
    return Truth(idle, clocks_up, costs)


def block_windows(run: Run, kinds: Sequence[str], lag: int) -> Windows:
    """Return the windows of all blocks of some kinds; none reaches over two blocks."""
    group = run.facts["group"] * min(run.facts["scale"] * 2, 1)
    parts = [
        windows(
            run.samples, run.during(block), block["begun"] + trim(block), block["ended"], group=group, lag=lag
        )
        for block in run.kind(*kinds)
    ]
    empty = Windows(np.zeros(0), np.zeros(0), np.zeros((0, len(COLUMNS))), np.zeros(0))
    return Windows.joined([empty, *parts])


def trim(block: Row) -> int:
    """Return the nanoseconds to leave out at a block's start; a short block has less to spare."""
    return min(TRIM, (block["ended"] - block["begun"]) // 5)


def r_squared(measured: Array, predicted: Array) -> float | None:
    """Return the explained part of the variance; absent where nothing varies."""
    spread = float(np.sum((measured - measured.mean()) ** 2)) if len(measured) > 2 else 0.0
    return 1 - float(np.sum((measured - predicted) ** 2)) / spread if spread > 0 else None


def affine(run: Run, idle: float, clocks_up: float, lag: int) -> list[Line]:
    """Return the line of decode-step energy over the batch, for each context length."""
    points: dict[int, list[tuple[int, float]]] = {}
    for block in run.kind("decode"):
        found = windows(
            run.samples, run.during(block), block["begun"] + trim(block), block["ended"], group=0, lag=lag
        )
        steps = found.work[:, COLUMNS.index("step")].sum()
        if steps > 0:
            energy = np.sum(found.energy - idle * found.time - clocks_up * found.active)
            points.setdefault(block["context"], []).append((block["batch"], float(energy / steps)))
    return [_line(context, pairs) for context, pairs in points.items() if len(pairs) > 1]


def _line(context: int, pairs: Sequence[tuple[int, float]]) -> Line:
    batches, energies = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    # Relative errors count: a batch of one is as good a witness as one of 128.
    weights = 1 / np.maximum(np.abs(energies), 1e-9)
    a = np.column_stack([np.ones_like(batches), batches])
    (fixed, each), *_ = np.linalg.lstsq(a * weights[:, None], energies * weights, rcond=None)
    worst = float(np.max(np.abs((fixed + each * batches) * weights - energies * weights)))
    return Line(context, float(fixed), float(each), worst)
