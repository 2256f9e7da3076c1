"""What was done, and what the counter said, in the same windows of time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from records import COLUMNS, Row

Array = np.ndarray
STALE = 300_000_000
"""ns since the last poll, after which half-way between both is no good guess of when the counter moved."""
GUESS = 30_000_000


@dataclass(frozen=True)
class Windows:
    """Rows of a fit: what was done in each window, and its energy in joules."""

    time: Array
    """Seconds."""
    active: Array
    """Seconds in which at least one engine worked."""
    work: Array
    """By ``COLUMNS``."""
    energy: Array

    @classmethod
    def joined(cls, parts: Sequence["Windows"]) -> "Windows":
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__)
        )


def moves(samples: Sequence[Row]) -> tuple[Array, Array]:
    """Return when the counter moved, in nanoseconds, and what it showed then, in joules.

    A move lies half-way between the poll that saw it and the one before.
    """
    times, energies = [], []
    before: Row | None = None
    for sample in samples:
        if "energy_mj" not in sample:
            continue
        if before is not None and sample["energy_mj"] > before["energy_mj"]:
            gap = sample["t"] - before["t"]
            times.append(sample["t"] - (GUESS if gap >= STALE else gap // 2))
            energies.append(sample["energy_mj"] / 1e3)
        before = sample
    return np.array(times, dtype=np.int64), np.array(energies)


def energy_between(samples: Sequence[Row], begun: int, ended: int, lag: int = 0) -> float | None:
    """Return the joules of a span, the counter being straight between its moves."""
    times, energies = moves(samples)
    times = times - lag
    if len(times) < 2 or times[0] > begun or times[-1] < ended:
        return None
    return float(np.diff(np.interp([begun, ended], times, energies))[0])


def done(steps: Sequence[Row], times: Array) -> Array:
    """Return work done up to each time: a row a time, a column of ``COLUMNS`` each; straight in a step."""
    found = np.zeros((len(times), len(COLUMNS)))
    for own, other in (("step", "istep"), ("istep", "step")):
        mine = [row for row in steps if row.get(own) and not row.get(other)]
        if not mine:
            continue
        ends = np.array([row["t"] for row in mine], dtype=np.int64).ravel()
        for column, name in enumerate(COLUMNS):
            total = np.cumsum([float(row.get(name, 0)) for row in mine])
            both = np.column_stack([np.concatenate([[0.0], total[:-1]]), total]).ravel()
            found[:, column] += np.interp(times, ends, both, left=0.0)
    return found


def active(steps: Sequence[Row], times: Array) -> Array:
    """Return the seconds up to each time in which at least one step ran."""
    merged: list[list[int]] = []
    for begun, ended in sorted(row["t"] for row in steps):
        if merged and begun <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], ended)
        else:
            merged.append([begun, ended])
    if not merged:
        return np.zeros(len(times))
    spans = np.array(merged, dtype=np.int64)
    total = np.cumsum(spans[:, 1] - spans[:, 0])
    both = np.column_stack([np.concatenate([[0], total[:-1]]), total]).ravel()
    return np.interp(times, spans.ravel(), both, left=0.0) / 1e9


def windows(
    samples: Sequence[Row], steps: Sequence[Row], begun: int, ended: int, *, group: float, lag: int = 0
) -> Windows:
    """Cut a span at moves of the counter into windows of at least ``group`` seconds."""
    times, energies = moves(samples)
    times = times - lag
    inside = (times >= begun) & (times <= ended)
    kept = _spaced(times[inside], group * 1e9)
    cuts, shown = times[inside][kept], energies[inside][kept]
    return Windows(
        np.diff(cuts) / 1e9,
        np.diff(active(steps, cuts)),
        np.diff(done(steps, cuts), axis=0),
        np.diff(shown),
    )


def span(steps: Sequence[Row], begun: int, ended: int) -> Windows:
    """Return what was done in one span; its energy is not known."""
    edges = np.array([begun, ended], dtype=np.int64)
    return Windows(
        np.diff(edges) / 1e9, np.diff(active(steps, edges)), np.diff(done(steps, edges), axis=0), np.zeros(1)
    )


def _spaced(times: Array, least: float) -> list[int]:
    kept: list[int] = []
    for place, t in enumerate(times):
        if not kept or t - times[kept[-1]] >= least:
            kept.append(place)
    return kept
