"""The simulated servers: a continuously batching language model and an image queue.

Step energies are affine in the batch as fitted to the ML.ENERGY leaderboard (repository
ml-energy/leaderboard, data of February 2026): Llama-3.1-8B on one H100 about 3.05 J a step and 0.071 J a
sequence, of which static power, KV reads and amortised prefill are taken out here and simulated apart.
"""

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from joulegate.testing.simulator.requests import Request

NOTICE = (0.004, 0.025)
"""Seconds until an engine sees that a client has left."""


Charge = tuple[Request | None, str, float]
"""Whose energy it is (``None``: a stranger's), its cause as a field of ``Energy``, and joules."""


@dataclass(frozen=True)
class Burst:
    """One use of the device: from ``start`` to ``end``, with its energy above static power."""

    engine: str
    start: float
    end: float
    charges: list[Charge]

    def joules(self) -> float:
        """Return the energy of all charges."""
        return sum(joules for _, _, joules in self.charges)


class Engine(Protocol):
    """A server on the device."""

    upstream: str

    def ready(self) -> float | None:
        """Return when it wants the device next; ``None`` if nothing is left to do."""
        ...

    def work(self, start: float) -> Burst:
        """Use the device from ``start`` on for one step."""
        ...


@dataclass(frozen=True)
class LlmSpec:
    """A language model on its device: energies in joules, times in seconds."""

    slots: int = 64
    budget: int = 2048
    """Tokens of one step."""
    step_joules: float = 2.2
    sequence_joules: float = 0.045
    kv_joules: float = 4e-5
    prefill_joules: float = 0.02
    context_joules: float = 4e-7
    """For each prefilled token and token before it."""
    step_seconds: float = 0.0066
    sequence_seconds: float = 7e-5
    kv_seconds: float = 4e-8
    prefill_seconds: float = 2.9e-5
    speculative: int = 1
    """Most tokens of a sequence in one step."""
    concave: float = 0.0
    """Energy of a step in units of tokens/(tokens + 16): experts that more and more tokens share."""
    decodes: bool = True
    """False: an embeddings or classification model; a request is its prefill."""
    power_limit: float = float("inf")
    """Watts above static power; a step that wants more takes longer."""
    noise: float = 0.03


class LlmEngine:
    """Continuous batching with chunked prefill, first come first served."""

    def __init__(self, upstream: str, spec: LlmSpec, requests: Iterable[Request], rng: random.Random) -> None:
        self.upstream = upstream
        self._spec = spec
        self._coming = deque(sorted(requests, key=lambda request: request.arrival))
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []
        self._left: dict[str, int] = {}
        self._rng = rng
        self._notices: dict[str, float] = {}
        self._free = 0.0

    def ready(self) -> float | None:
        """Return when it wants the device next."""
        if self._running or self._waiting:
            return self._free
        if self._coming:
            return max(self._free, self._coming[0].arrival + 0.001)
        return None

    def work(self, start: float) -> Burst:
        """Run one engine step: decode what runs, prefill what the budget leaves room for."""
        self._admit(start)
        decoding = [request for request in self._running if not self._left[request.id]]
        chunks = self._chunks(self._spec.budget - len(decoding))
        charges = self._charges(decoding, chunks) if decoding or chunks else []
        limited = sum(joules for _, _, joules in charges) / self._spec.power_limit
        end = start + max(self._seconds(decoding, chunks), limited)
        self._advance(decoding, chunks, end)
        self._free = end
        return Burst(self.upstream, start, end, charges)

    def _admit(self, now: float) -> None:
        while self._coming and self._coming[0].arrival + 0.001 <= now:
            self._waiting.append(self._coming.popleft())
        for request in [*self._waiting, *self._running]:
            if self._noticed(request) <= now:
                self._drop(request, now)
        while self._waiting and len(self._running) < self._spec.slots:
            request = self._waiting.popleft()
            request.admitted = now
            self._left[request.id] = max(1, request.prompt - request.cached)
            self._running.append(request)

    def _noticed(self, request: Request) -> float:
        if request.leaves is None:
            return float("inf")
        return request.gone + self._notices.setdefault(request.id, self._rng.uniform(*NOTICE))

    def _drop(self, request: Request, now: float) -> None:
        request.aborted = True
        request.ended = now
        (self._waiting if request in self._waiting else self._running).remove(request)

    def _chunks(self, budget: int) -> list[tuple[Request, int]]:
        chunks = []
        for request in self._running:
            take = min(self._left[request.id], budget)
            if take > 0:
                chunks.append((request, take))
                budget -= take
        return chunks

    def _seconds(self, decoding: list[Request], chunks: list[tuple[Request, int]]) -> float:
        spec = self._spec
        kv = sum(request.prompt + request.produced for request in decoding)
        prefill = sum(tokens for _, tokens in chunks)
        seconds = spec.step_seconds + spec.sequence_seconds * len(decoding)
        seconds += spec.kv_seconds * kv + spec.prefill_seconds * prefill
        return seconds * self._rng.gauss(1, 0.01)

    def _charges(self, decoding: list[Request], chunks: list[tuple[Request, int]]) -> list[Charge]:
        spec = self._spec
        scale = max(0.5, self._rng.gauss(1, spec.noise))
        tokens = len(decoding) + sum(count for _, count in chunks)
        fixed = spec.step_joules + spec.concave * tokens / (tokens + 16)
        sequences = [*decoding, *(request for request, _ in chunks)]
        charges: list[Charge] = [(each, "fixed", scale * fixed / len(sequences)) for each in sequences]
        for request in decoding:
            charges.append((request, "decode", scale * spec.sequence_joules))
            charges.append((request, "kv", scale * spec.kv_joules * (request.prompt + request.produced)))
        for request, count in chunks:
            before = request.prompt - self._left[request.id] + count / 2
            joules = count * (spec.prefill_joules + spec.context_joules * before)
            charges.append((request, "prefill", scale * joules))
        return charges

    def _advance(self, decoding: list[Request], chunks: list[tuple[Request, int]], end: float) -> None:
        for request in decoding:
            self._emit(request, end)
        for request, count in chunks:
            self._left[request.id] -= count
            if not self._left[request.id]:
                self._emit(request, end)
        for request in [*self._running]:
            if not self._left[request.id] and request.produced >= request.out:
                request.ended = end
                self._running.remove(request)

    def _emit(self, request: Request, end: float) -> None:
        if not self._spec.decodes:
            return
        most = min(self._spec.speculative, request.out - request.produced)
        tokens = self._rng.randint(1, most) if most > 1 else most
        request.produced += tokens
        request.emissions.append((end, tokens))


@dataclass(frozen=True)
class ImageSpec:
    """A diffusion model: joules and seconds of a step, of a megapixel-step, of its square, of an image."""

    concurrency: int = 1
    step_joules: float = 4.0
    pixel_joules: float = 42.0
    square_joules: float = 10.0
    image_joules: float = 60.0
    step_seconds: float = 0.008
    pixel_seconds: float = 0.068
    square_seconds: float = 0.014
    image_seconds: float = 0.09
    noise: float = 0.01


SLICE = 0.01
"""Seconds after which an image server lets others onto the device."""


class ImageEngine:
    """First come first served; up to ``concurrency`` waiting requests of one shape share a batch."""

    def __init__(
        self, upstream: str, spec: ImageSpec, requests: Iterable[Request], rng: random.Random
    ) -> None:
        self.upstream = upstream
        self._spec = spec
        self._coming = deque(sorted(requests, key=lambda request: request.arrival))
        self._batch: list[Request] = []
        self._slices: deque[tuple[float, list[Charge]]] = deque()
        self._rng = rng
        self._free = 0.0

    def ready(self) -> float | None:
        """Return when it wants the device next."""
        if self._slices:
            return self._free
        return max(self._free, self._coming[0].arrival + 0.002) if self._coming else None

    def work(self, start: float) -> Burst:
        """Run one slice of the batch."""
        if not self._slices:
            self._begin(start)
        seconds, charges = self._slices.popleft()
        self._free = start + seconds
        if not self._slices:
            for request in self._batch:
                request.ended = self._free
        return Burst(self.upstream, start, self._free, charges)

    def _begin(self, start: float) -> None:
        self._batch = []
        while self._coming and self._coming[0].arrival + 0.002 <= start and self._fits(self._coming[0]):
            request = self._coming.popleft()
            request.admitted = start
            self._batch.append(request)
        for step in range(self._batch[0].steps + 1):
            parts = [self._step(request, step) for request in self._batch]
            seconds = sum(part for part, _ in parts)
            count = max(1, round(seconds / SLICE))
            charges = [charge for _, part in parts for charge in part]
            portion: list[Charge] = [(who, cause, joules / count) for who, cause, joules in charges]
            self._slices.extend((seconds / count, portion) for _ in range(count))

    def _fits(self, request: Request) -> bool:
        shape = request.width, request.height, request.steps
        same = all(shape == (other.width, other.height, other.steps) for other in self._batch)
        return same and len(self._batch) < self._spec.concurrency

    def _step(self, request: Request, step: int) -> tuple[float, list[Charge]]:
        spec, pixels = self._spec, request.width * request.height / 2**20
        scale = max(0.5, self._rng.gauss(1, spec.noise)) * request.images
        if step == request.steps:
            return scale * spec.image_seconds * pixels, [
                (request, "image", scale * spec.image_joules * pixels)
            ]
        own = spec.pixel_joules * pixels + spec.square_joules * pixels**2
        seconds = spec.step_seconds + spec.pixel_seconds * pixels + spec.square_seconds * pixels**2
        return scale * seconds, [
            (request, "image", scale * own),
            (request, "fixed", scale * spec.step_joules),
        ]


class Stranger:
    """Somebody else's process on the device: bursts of work that no request explains."""

    upstream = ""

    def __init__(self, busy: float, idle: float, power: float, end: float, rng: random.Random) -> None:
        self._busy, self._idle, self._power, self._end, self._rng = busy, idle, power, end, rng
        self._until = 0.0
        self._free = rng.expovariate(1 / idle)

    def ready(self) -> float | None:
        """Return when it wants the device next."""
        return self._free if self._free < self._end else None

    def work(self, start: float) -> Burst:
        """Run one slice of work that no request explains."""
        if start > self._until:
            self._until = start + self._rng.expovariate(1 / self._busy)
        end = start + SLICE
        rest = 0.0 if end < self._until else self._rng.expovariate(1 / self._idle)
        self._free = end + rest
        return Burst(self.upstream, start, end, [(None, "own", self._power * SLICE)])
