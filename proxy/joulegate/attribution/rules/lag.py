"""How far a counter lags behind: found by trying, for no driver reports it."""

from collections.abc import Sequence

import numpy as np

from joulegate.attribution.features.columns import Matrix
from joulegate.attribution.features.window_features import WindowFeatures
from joulegate.attribution.maths.arrays import Floats, Seconds
from joulegate.attribution.maths.fit import nonnegative

COARSE_EDGES_S = 0.3
"""Counter edges further apart cannot show a lag of some tens of ms."""
ROW_INTERVALS = 2
"""Counter intervals a row."""
LEAST_ROWS = 30
FADE_PER_SCAN = 0.8
"""How much an earlier scan still counts."""
BETTER_FACTOR = 0.95
"""A lag must be so much better than the one in use to replace it: the scan is noisy."""
RIDGE = 0.01


class LagScan:
    """The lag with the smallest residuals, over all scans so far."""

    def __init__(self) -> None:
        self.lag: Seconds | None = None
        self._scores: dict[float, float] = {}

    def update(self, features: WindowFeatures, matrix: Matrix, x: Floats) -> None:
        """Try all lags on some windows with coefficients near those given."""
        times, energy = features.readings.edges
        if len(times) < ROW_INTERVALS * LEAST_ROWS or (
            np.median(np.diff(times)) > COARSE_EDGES_S and not features.lag.slow
        ):
            return
        work = _running(np.column_stack([matrix.cells, matrix.fixed, matrix.unsure_cells]))
        for lag in features.lag.candidates:
            score = _score(times + features.lag.used - lag, energy, features.cells.edges, work, x)
            if score is not None:
                before = self._scores.get(lag, score)
                self._scores[lag] = (
                    FADE_PER_SCAN * before + (1 - FADE_PER_SCAN) * score if lag in self._scores else score
                )
        self._choose(features.lag.used)

    def _choose(self, now: Seconds) -> None:
        if not self._scores:
            return
        best = min(self._scores, key=lambda lag: (self._scores[lag], lag))
        used = min(self._scores, key=lambda lag: abs(lag - now))
        if self._scores[best] < BETTER_FACTOR * self._scores[used]:
            self.lag = best


def _running(values: Floats) -> Floats:
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])


def _score(times: Floats, energy: Floats, cells: Floats, work: Floats, x: Floats) -> float | None:
    """Return the median absolute residual of pairs of intervals, fitted anew, in J."""
    inside = np.flatnonzero((times >= cells[0]) & (times <= cells[-1]))[::ROW_INTERVALS]
    if len(inside) < LEAST_ROWS:
        return None
    rows = np.diff(_read(times[inside], cells, work), axis=0)
    sure = rows[:, -1] <= 0.02 * np.diff(times[inside])
    if sure.sum() < LEAST_ROWS:
        return None
    features, rest = rows[sure, :-2], (np.diff(energy[inside]) - rows[:, -2])[sure]
    pull = RIDGE * len(rest) * np.mean(features**2, axis=0)
    found = nonnegative(features.T @ features + np.diag(pull), features.T @ rest + pull * x)
    return float(np.median(np.abs(rest - features @ found)))


def _read(times: Floats, edges: Floats, running: Floats) -> Floats:
    columns: Sequence[Floats] = [np.interp(times, edges, column) for column in running.T]
    return np.column_stack(columns)
