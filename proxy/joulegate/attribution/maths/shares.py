"""Splitting an integer exactly."""

from collections.abc import Sequence

import numpy as np

from joulegate.attribution.maths.arrays import Floats, Ints


def split(total: int, weights: Floats | Sequence[float]) -> Ints:
    """Return for each weight its whole part of ``total``; the parts always add up to ``total``.

    Largest remainder (Hamilton's method): everyone gets the floor of the exact part, what is left goes one
    unit each to the largest remainders, ties to the earlier place. A weight that is negative or not a
    number counts as 0; if none is positive, all count the same. ``total`` must not be negative, and below
    2**62.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if len(weights) == 0:
        raise ValueError("an energy needs at least one account")
    sane = np.where(np.isfinite(weights) & (weights > 0), weights, 0.0)
    peak = float(sane.max())
    sane = sane / peak if peak > 0 else np.ones(len(sane))
    exact = total * (sane / sane.sum())
    parts: Ints = np.minimum(exact.astype(np.int64), total)
    order = np.argsort(parts - exact, kind="stable")
    _level(parts, order, total - int(parts.sum()))
    return parts


def _level(parts: Ints, order: Ints, rest: int) -> None:
    """Hand out ``rest`` in place; beyond 2**53 the floors can be off by more than one, also upwards."""
    if rest > 0:
        parts[order[: rest % len(parts)]] += 1
        parts[int(np.argmax(parts))] += rest // len(parts) * len(parts)
    for place in np.argsort(-parts, kind="stable").tolist() if rest < 0 else ():
        taken = min(int(parts[place]), -rest)
        parts[place] -= taken
        rest += taken
