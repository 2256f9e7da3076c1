"""One run of a scenario: engines share the device, energy is booked to its causes."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulegate.testing.simulator.engines import Burst, Engine, ImageEngine, ImageSpec, LlmEngine, Stranger
from joulegate.testing.simulator.requests import Request
from joulegate.testing.simulator.scenarios import Scenario

Floats = NDArray[np.float64]


class Usage:
    """The time in which some bursts used the device, counted once where they overlap."""

    def __init__(self, bursts: Sequence[Burst]) -> None:
        edges, seconds, until = [0.0], [0.0], 0.0
        for burst in sorted(bursts, key=lambda burst: burst.start):
            start = max(burst.start, until)
            if burst.end > start:
                edges += [start, burst.end]
                seconds += [seconds[-1], seconds[-1] + burst.end - start]
                until = burst.end
        self._edges, self._seconds = np.array(edges), np.array(seconds)

    def between(self, start: float, end: float) -> float:
        """Return the seconds used between two times."""
        low, high = np.interp([start, end], self._edges, self._seconds)
        return float(high - low)


@dataclass
class World:
    """What happened, with the truth."""

    scenario: Scenario
    requests: list[Request]
    times: Floats
    """Seconds at which the energy below is known; linear between them."""
    joules: Floats
    """True energy of all devices since time zero."""
    foreign: float
    """Joules of somebody else's work, with its part of static power."""
    own: Usage
    """When the servers' kernels ran."""
    alien: Usage
    """When somebody else's did."""

    def energy(self, time: float) -> float:
        """Return the true energy of all devices from time zero to ``time``."""
        return float(np.interp(time, self.times, self.joules))


def simulate(scenario: Scenario, seed: int = 1) -> World:
    """Run a scenario in virtual time. The same seed gives the same world."""
    rng = random.Random(seed)
    requests = scenario.requests(rng)
    bursts = _run(_engines(scenario, requests, rng), exclusive=scenario.exclusive)
    scales = _scales(scenario, bursts)
    for burst, scale in zip(bursts, scales, strict=True):
        for request, cause, joules in burst.charges:
            if request is not None:
                setattr(request.energy, cause, getattr(request.energy, cause) + scale * joules)
    segments = [
        (burst.start, burst.end, scale * burst.joules()) for burst, scale in zip(bursts, scales, strict=True)
    ]
    end = max([scenario.seconds, *(burst.end for burst in bursts)]) + 2
    present = _presence(requests)
    alien = Usage([burst for burst in bursts if not burst.engine])
    segments += _static(scenario, present, end, alien)
    booked = zip(bursts, scales, strict=True)
    foreign = sum(scale * burst.joules() for burst, scale in booked if not burst.engine)
    awake = [(start, stop) for start, stop, _ in present]
    foreign += scenario.idle_watts * alien.between(0, end)
    foreign += scenario.active_watts * sum(alien.between(start, stop) for start, stop in awake)
    own = Usage([burst for burst in bursts if burst.engine])
    return World(scenario, requests, *_accumulate(segments), foreign, own, alien)


def _engines(scenario: Scenario, requests: Sequence[Request], rng: random.Random) -> list[Engine]:
    engines: list[Engine] = []
    for upstream, spec in scenario.engines.items():
        mine = [request for request in requests if request.upstream == upstream]
        kind = ImageEngine if isinstance(spec, ImageSpec) else LlmEngine
        engines.append(kind(upstream, spec, mine, rng))  # type: ignore[arg-type]  # spec and kind agree
    if scenario.stranger:
        engines.append(Stranger(*scenario.stranger, scenario.seconds, rng))
    return engines


def _run(engines: Sequence[Engine], *, exclusive: bool) -> list[Burst]:
    bursts: list[Burst] = []
    free = 0.0
    while wanting := [(ready, engine) for engine in engines if (ready := engine.ready()) is not None]:
        ready, engine = min(wanting, key=lambda each: each[0])
        burst = engine.work(max(ready, free) if exclusive else ready)
        free = burst.end
        bursts.append(burst)
    return bursts


def _scales(scenario: Scenario, bursts: Sequence[Burst]) -> list[float]:
    scales = [1 + scenario.drift * math.sin(burst.start / scenario.drift_seconds) for burst in bursts]
    if scenario.exclusive:
        return scales
    overlaps = _overlaps(bursts)
    return [
        scale * max(0.2, 1 - scenario.saving * overlap / 2 / max(burst.joules(), 1e-9))
        for scale, overlap, burst in zip(scales, overlaps, bursts, strict=True)
    ]


def _overlaps(bursts: Sequence[Burst]) -> list[float]:
    """Return the seconds that each burst shares with bursts of other engines."""
    edges = sorted({edge for burst in bursts for edge in (burst.start, burst.end)})
    index = {edge: number for number, edge in enumerate(edges)}
    busy = np.zeros(len(edges) + 1)
    for burst in bursts:
        busy[index[burst.start]] += 1
        busy[index[burst.end]] -= 1
    both = np.cumsum(busy)[: len(edges) - 1] > 1
    shared = np.concatenate([[0.0], np.cumsum(np.diff(edges) * both)])
    return [float(shared[index[burst.end]] - shared[index[burst.start]]) for burst in bursts]


def _presence(requests: Sequence[Request]) -> list[tuple[float, float, list[Request]]]:
    """Return intervals in which the same requests are on the device, and share static power on the way."""
    edges: list[tuple[float, int, Request]] = []
    for request in requests:
        if request.admitted is not None and request.ended is not None:
            edges += [(request.admitted, 1, request), (request.ended, -1, request)]
    edges.sort(key=lambda edge: (edge[0], edge[1]))
    intervals: list[tuple[float, float, list[Request]]] = []
    here: dict[str, Request] = {}
    last = 0.0
    for time, step, request in edges:
        if here and time > last:
            intervals.append((last, time, list(here.values())))
        last = time
        if step > 0:
            here[request.id] = request
        else:
            here.pop(request.id, None)
    return intervals


def _static(
    scenario: Scenario, present: Sequence[tuple[float, float, list[Request]]], end: float, alien: Usage
) -> list[tuple[float, float, float]]:
    segments = [(0.0, end, scenario.idle_watts * end)]
    last = None
    for start, stop, requests in present:
        if last is not None and start > last:
            segments += _tail(scenario, last, start)
        active = scenario.active_watts * (stop - start)
        segments.append((start, stop, active))
        watts, ours = scenario.active_watts + scenario.idle_watts, stop - start - alien.between(start, stop)
        for request in requests:
            request.energy.static += watts * ours / len(requests)
        last = stop
    return segments + (_tail(scenario, last, end) if last is not None else [])


def _tail(scenario: Scenario, start: float, stop: float) -> list[tuple[float, float, float]]:
    """Clocks stay up for a while after the last work; that energy is idle."""
    segments = []
    time, decay = start, scenario.tail_seconds
    while time < min(stop, start + 5 * decay):
        after = min(stop, time + decay / 4)
        watts = scenario.active_watts * math.exp(-(time - start) / decay)
        segments.append((time, after, watts * (after - time)))
        time = after
    return segments


def _accumulate(segments: Sequence[tuple[float, float, float]]) -> tuple[Floats, Floats]:
    starts, ends, joules = (np.array(column) for column in zip(*segments, strict=True))
    keep = ends > starts
    watts = joules[keep] / (ends[keep] - starts[keep])
    edges = np.concatenate([starts[keep], ends[keep]])
    steps = np.concatenate([watts, -watts])
    order = np.argsort(edges, kind="stable")
    times, power = edges[order], np.cumsum(steps[order])
    energy = np.concatenate([[0.0], np.cumsum(power[:-1] * np.diff(times))])
    return times, energy
