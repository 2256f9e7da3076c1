"""Splitting an integer exactly."""

import math
from collections.abc import Sequence


def split(total: int, weights: Sequence[float]) -> list[int]:
    """Give each weight its whole part of ``total``; the parts add up to ``total``, always.

    Largest remainder (Hamilton's method): everyone gets the floor of the exact part, what is left goes one
    unit each to the largest remainders, ties to the earlier place. A weight that is negative or not a
    number counts as 0; if none is positive, all count the same. ``total`` must not be negative.
    """
    if not weights:
        raise ValueError("an energy needs at least one account")
    sane = [weight if weight > 0 and math.isfinite(weight) else 0.0 for weight in weights]
    peak = max(sane)
    if peak == 0:
        sane, peak = [1.0] * len(sane), 1.0
    return _largest_remainder(total, [weight / peak for weight in sane])


def _largest_remainder(total: int, weights: Sequence[float]) -> list[int]:
    scale = math.fsum(weights)
    exact = [total * (weight / scale) for weight in weights]
    parts = [min(int(part), total) for part in exact]
    order = sorted(range(len(parts)), key=lambda place: (parts[place] - exact[place], place))
    _level(parts, order, total - sum(parts))
    return parts


def _level(parts: list[int], order: Sequence[int], rest: int) -> None:
    """Hand out ``rest`` in place; beyond 2**53 the floors can be off by more than one, also upwards."""
    for place in order[: rest % len(parts)] if rest > 0 else ():
        parts[place] += 1
    if rest > 0:
        bulk = rest // len(parts)
        top = max(range(len(parts)), key=lambda place: parts[place])
        parts[top] += bulk * len(parts)
    for place in sorted(range(len(parts)), key=lambda place: -parts[place]) if rest < 0 else ():
        taken = min(parts[place], -rest)
        parts[place] -= taken
        rest += taken
