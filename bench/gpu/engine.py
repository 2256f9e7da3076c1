"""A continuous-batching loop with a token budget, and an exact log of who took part in which step."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backend import Llm, Part


@dataclass(frozen=True)
class Ask:
    """A request: ``at`` is nanoseconds after the beginning."""

    id: str
    task: str
    at: int
    prompt: int
    out: int
    stream: bool = True


@dataclass
class Running:
    """A request in the engine, and afterwards what the client saw of it."""

    ask: Ask
    start: int = 0
    prefilled: int = 0
    chunks: list[int] = field(default_factory=list)
    """Times at which tokens left, monotonic nanoseconds."""
    left: int | None = None
    """When it was given up, because the run ended."""

    @property
    def decoding(self) -> bool:
        return self.prefilled == self.ask.prompt

    @property
    def done(self) -> bool:
        return len(self.chunks) == self.ask.out


@dataclass(frozen=True)
class Step:
    """One engine step, monotonic nanoseconds."""

    begun: int
    ended: int
    decodes: tuple[tuple[str, int], ...] = ()
    """Sequence and the cached tokens that it read."""
    prefills: tuple[tuple[str, int, int], ...] = ()
    """Sequence, new tokens, tokens before them."""


class Pool:
    """Contiguous places for the keys and values of sequences; first fit."""

    def __init__(self, size: int) -> None:
        self._holes = [(0, size)]

    def take(self, size: int) -> int | None:
        for number, (start, free) in enumerate(self._holes):
            if free >= size:
                self._holes[number : number + 1] = [(start + size, free - size)] if free > size else []
                return start
        return None

    def give(self, start: int, size: int) -> None:
        merged: list[tuple[int, int]] = []
        for hole in sorted([*self._holes, (start, size)]):
            if merged and sum(merged[-1]) == hole[0]:
                merged[-1] = (merged[-1][0], merged[-1][1] + hole[1])
            else:
                merged.append(hole)
        self._holes = merged


class Engine:
    """Decodes every running sequence once a step and fills the budget up with prefill, first come first."""

    def __init__(self, llm: Llm, *, budget: int, slots: int) -> None:
        self._llm, self._budget, self._slots = llm, budget, slots
        self._pool = Pool(llm.kv_tokens)
        self._queue: deque[Ask] = deque()
        self._running: list[Running] = []
        self.finished: list[Running] = []

    def put(self, ask: Ask) -> None:
        if ask.prompt + ask.out > self._llm.kv_tokens:
            raise ValueError(f"{ask.id} wants {ask.prompt + ask.out} tokens of {self._llm.kv_tokens}")
        self._queue.append(ask)

    @property
    def busy(self) -> bool:
        return bool(self._queue or self._running)

    def step(self, clock: Callable[[], int]) -> Step:
        """Do one step and return its log."""
        self._admit()
        begun = clock()
        work = self._plan()
        self._llm.step([Part(one.start, before, new) for one, before, new in work])
        ended = clock()
        decodes = tuple((one.ask.id, before + 1) for one, before, _ in work if one.decoding)
        prefills = tuple((one.ask.id, new, before) for one, before, new in work if not one.decoding)
        for one, _, new in work:
            self._advance(one, new, ended)
        return Step(begun, ended, decodes, prefills)

    def abandon(self, now: int) -> None:
        """Return up what has not ended."""
        for one in [*self._running, *(Running(ask) for ask in self._queue)]:
            one.left = now
            self.finished.append(one)
        self._queue.clear()
        self._running.clear()

    def _admit(self) -> None:
        while self._queue and len(self._running) < self._slots:
            ask = self._queue[0]
            start = self._pool.take(ask.prompt + ask.out)
            if start is None:
                return
            self._running.append(Running(self._queue.popleft(), start))

    def _plan(self) -> list[tuple[Running, int, int]]:
        """Return sequences with the tokens they have in the pool and the new ones of this step."""
        work = [(one, one.ask.prompt + len(one.chunks) - 1, 1) for one in self._running if one.decoding]
        room = self._budget - len(work)
        for one in self._running:
            new = min(one.ask.prompt - one.prefilled, room)
            if new > 0:
                work.append((one, one.prefilled, new))
                room -= new
        return work

    def _advance(self, one: Running, new: int, now: int) -> None:
        if not one.decoding:
            one.prefilled += new
        if one.decoding:
            one.chunks.append(now)
        if one.done:
            self._pool.give(one.start, one.ask.prompt + one.ask.out)
            self._running.remove(one)
            self.finished.append(one)


def serve(
    engine: Engine,
    asks: Sequence[Ask],
    *,
    begin: int,
    end: int,
    clock: Callable[[], int],
    pause: Callable[[float], object],
) -> tuple[list[Step], list[Running]]:
    """Let requests come at their times from ``begin`` on, until all have ended or it is ``end``."""
    waiting, steps = deque(sorted(asks, key=lambda ask: ask.at)), []
    while (waiting or engine.busy) and clock() < end:
        while waiting and begin + waiting[0].at <= clock():
            engine.put(waiting.popleft())
        if engine.busy:
            steps.append(engine.step(clock))
        else:
            pause(max(begin + waiting[0].at - clock(), 0) / 1e9)
    engine.abandon(clock())
    return steps, sorted(engine.finished, key=lambda one: (one.ask.at, one.ask.id))
