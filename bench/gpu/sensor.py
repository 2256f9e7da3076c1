"""What the sensor does: how often the counter moves, how late it is, whether polling disturbs it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from features import active, moves
from records import Row, Run

LAGS = range(0, 310_000_000, 10_000_000)
"""ns; beyond 300 ms no counter was ever seen."""
CLOSE = 25_000_000
"""ns between polls that still date a move well."""
SETTLED = 1 / 3
"""Part of the idle block at its start that still cools down."""


@dataclass(frozen=True)
class Sensor:
    """Absent where the run was too short to tell."""

    period_ms: float | None
    lag_ms: float | None
    call_us: float
    """Median duration of reading the counter."""
    idle_w: float
    clocks_up_w: float
    tail_s: float | None
    """Energy above idle after the last work, divided by the clocks-up power."""


@dataclass(frozen=True)
class Polling:
    """The same load, read at another rate."""

    rate: int
    counter_w: float
    instant_w: float | None
    """Mean of the instantaneous power, to compare with the counter."""
    steps_per_s: float
    call_us: float


def measure(run: Run) -> Sensor:
    """Look at idle, bursts and tails."""
    lag = _lag(run)
    idle = _idle(run)
    up, tail = _tail(run, idle, lag or 0)
    return Sensor(_period(run), None if lag is None else lag / 1e6, _call(run.samples), idle, up, tail)


def polling(run: Run) -> list[Polling]:
    """Compare the rates."""
    return [one for block in run.kind("poll") if (one := _polled(run, block))]


def _period(run: Run) -> float | None:
    """Return the median distance of two moves, where the polls are close and the power is never 0."""
    gaps: list[float] = []
    for block in run.kind("idle", "burst", "tail", "poll"):
        samples = _within(run.samples, block)
        if len(samples) > 3 and np.median(np.diff([sample["t"] for sample in samples])) <= CLOSE:
            gaps += list(np.diff(moves(samples)[0]) / 1e6)
    return float(np.median(gaps)) if len(gaps) > 5 else None


def _lag(run: Run) -> int | None:
    """Return the lag with which two levels of power, idle and busy, explain the bursts best."""
    bursts = run.kind("burst", "tail")
    if not bursts:
        return None
    begun, ended = min(block["begun"] for block in bursts) - 10**9, max(block["ended"] for block in bursts)
    times, energies = moves([sample for sample in run.samples if begun <= sample["t"] <= ended])
    spans = [{"t": [block["begun"], block["ended"]]} for block in run.kind("burst")]
    if len(times) < 20:
        return None
    errors = {}
    for lag in LAGS:
        a = np.column_stack([np.diff(times) / 1e9, np.diff(active(spans, times - lag))])
        x, *_ = np.linalg.lstsq(a, np.diff(energies), rcond=None)
        errors[lag] = float(np.sum((a @ x - np.diff(energies)) ** 2))
    return min(errors, key=errors.__getitem__)


def _idle(run: Run) -> float:
    """Return the mean power of the quiet block, by the counter."""
    for block in run.kind("idle"):
        begun = block["begun"] + round((block["ended"] - block["begun"]) * SETTLED)
        times, energies = moves([one for one in run.samples if begun <= one["t"] <= block["ended"]])
        if len(times) > 1:
            return float((energies[-1] - energies[0]) / (times[-1] - times[0]) * 1e9)
    raise SystemExit("the block idle is missing or too short: nothing can be told without it")


def _tail(run: Run, idle: float, lag: int) -> tuple[float, float | None]:
    """Return the power above idle just after a burst, and how long it would last if it stopped at once."""
    ups, energies = [], []
    for block in run.kind("tail"):
        begun, ended = block["begun"] + lag, block["ended"]
        times, shown = moves([one for one in run.samples if begun <= one["t"] <= ended])
        if len(times) < 4:
            continue
        over = shown - shown[0] - idle * (times - times[0]) / 1e9
        energies.append(float(over[-1]))
        early = int(np.searchsorted(times, times[0] + min(500_000_000, (ended - begun) // 4)))
        early = max(early, 1)
        ups.append(float(over[early] / (times[early] - times[0]) * 1e9))
    if not ups or np.median(ups) <= 0:
        return 0.0, None
    up = float(np.median(ups))
    return up, max(float(np.median(energies)), 0.0) / up


def _polled(run: Run, block: Row) -> Polling | None:
    samples = _within(run.samples, block)
    times, energies = moves(samples)
    if len(times) < 2:
        return None
    steps = [one for one in run.during(block) if times[0] <= one["t"][0] <= times[-1]]
    seconds = (times[-1] - times[0]) / 1e9
    instant = [one["instant_mw"] for one in samples if "instant_mw" in one]
    return Polling(
        block["rate"],
        float((energies[-1] - energies[0]) / seconds),
        float(np.mean(instant)) / 1e3 if instant else None,
        len(steps) / seconds,
        _call(samples),
    )


def _call(samples: Sequence[Row]) -> float:
    return float(np.median([one["call"] for one in samples if "call" in one])) / 1e3


def _within(samples: Sequence[Row], block: Row) -> list[Row]:
    return [one for one in samples if block["begun"] <= one["t"] <= block["ended"] and "energy_mj" in one]
