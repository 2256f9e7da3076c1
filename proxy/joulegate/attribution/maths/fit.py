"""Fitting non-negative coefficients to counter readings, robustly and with a prior.

A plain non-negative regression on counter intervals is worse than token shares: columns move together
under load, and a prefill whose instant was guessed wrongly moves energy between rows. The prior shape, the
weights and the pinned idle power are what makes it work.
"""

import numpy as np
from msgspec import Struct

from joulegate.attribution.maths.arrays import Floats

BLOCKS = 6
"""Blocks of the past that the jackknife leaves out in turn."""
RIDGE = 0.01
"""Pull of the prior, as part of a column's own weight."""
FIT_ROUNDS = 4
BEND_DEVIATIONS = 2.5 * 1.4826
"""Residuals beyond this many median absolute deviations lose weight."""
DOUBT_WEIGHT = 3.0
LEAST_WEIGHT = 0.3
CLEAN_ROWS = 25.0
"""With less clean data than this, rows with guessed prefills count too."""


class Fit(Struct, frozen=True):
    """Coefficients in J a unit, and those found without each block of the past."""

    x: Floats
    without: Floats
    """A row for each block."""
    residual: float
    """Median absolute residual in J a row."""


def fit(features: Floats, energy: Floats, prior: Floats, trust: Floats, cone: Floats | None = None) -> Fit:
    """Return x >= 0 that explains the energies: min sum w (b - G x)^2 + sum l (x - prior)^2.

    With a ``cone``, x is that matrix times something that is at least 0.
    """
    basis = np.eye(len(prior)) if cone is None else cone
    weights = trust.copy()
    x = _solve(features, energy, prior, weights, basis)
    for _ in range(FIT_ROUNDS):
        weights = trust * bend(energy - features @ x)
        x = _solve(features, energy, prior, weights, basis)
    block = np.arange(len(energy)) * BLOCKS // max(len(energy), 1)
    without = [
        _solve(features, energy, prior, np.where(block == one, 0.0, weights), basis) for one in range(BLOCKS)
    ]
    return Fit(x, np.stack(without), float(np.median(np.abs(energy - features @ x))))


def bend(residuals: Floats) -> Floats:
    """Return lower weights for rows that do not fit: a foreign process may add energy, nothing removes it."""
    spread = BEND_DEVIATIONS * max(float(np.median(np.abs(residuals))), 1e-9)
    v = residuals / spread
    above = 1 / np.maximum(v, 1.0) ** 2
    below = 1 / np.maximum(-v, 1.0)
    return above * below


def trust(doubt: Floats, prefilled: Floats) -> Floats:
    """Return the starting weight of each row by the prefilled tokens whose instant was guessed."""
    weights = 1 / (1 + (DOUBT_WEIGHT * doubt / (float(np.median(prefilled)) + 1)) ** 2)
    return np.maximum(weights, LEAST_WEIGHT) if weights.sum() < CLEAN_ROWS else weights


def scales(shapes: Floats, energy: Floats) -> Floats:
    """Return the non-negative scale of each shape column that explains the energies."""
    return nonnegative(shapes.T @ shapes, shapes.T @ energy)


def nonnegative(gram: Floats, target: Floats) -> Floats:
    """Return x >= 0 with the least x'Qx/2 - c'x (Lawson and Hanson 1974, chapter 23, on normal equations)."""
    size = np.sqrt(np.maximum(np.diag(gram), 1e-30))
    live = np.diag(gram) > 1e-30
    q, c = gram / np.outer(size, size) + 1e-9 * np.eye(len(size)), target / size
    x, free = np.zeros(len(c)), np.zeros(len(c), dtype=bool)
    for _ in range(5 * len(c) + 5):
        slope = np.where(free | ~live, -np.inf, c - q @ x)
        if len(c) == 0 or slope.max() <= 1e-10:
            break
        free[int(np.argmax(slope))] = True
        x = _step_inside(q, c, x, free)
    return np.where(live, x / size, 0.0)


def _step_inside(q: Floats, c: Floats, x: Floats, free: np.ndarray) -> Floats:
    """Solve on the free columns, letting go of those that would turn negative."""
    while free.any():
        best = np.zeros(len(c))
        best[free] = np.linalg.solve(q[np.ix_(free, free)], c[free])
        if (best[free] > 0).all():
            return best
        falling = free & (best <= 0)
        reach = float(np.min(x[falling] / np.maximum(x[falling] - best[falling], 1e-30)))
        x = x + reach * (best - x)
        free &= ~(falling & (x <= 1e-12))
        x = np.where(free, x, 0.0)
    return np.zeros(len(c))


def _solve(features: Floats, energy: Floats, prior: Floats, weights: Floats, basis: Floats) -> Floats:
    pull = RIDGE * len(energy) * np.mean(features**2, axis=0)
    weighted = features * weights[:, None]
    gram, target = features.T @ weighted + np.diag(pull), weighted.T @ energy + pull * prior
    x: Floats = basis @ nonnegative(basis.T @ gram @ basis, basis.T @ target)
    return x
