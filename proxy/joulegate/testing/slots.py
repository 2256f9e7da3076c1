"""A fake GPU that draws what a llama.cpp server works for, and the truth of who drew it.

llama.cpp's ``GET /slots`` says at every instant which request is in which slot, how many tokens of its prompt
were read and how many tokens it has decoded (tools/server/README.md of https://github.com/ggml-org/llama.cpp).
A request is known by its ``seed``.
"""

import http.client
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from statistics import median
from typing import Any

from msgspec import Struct

from joulegate.testing.nvml import Control
from joulegate.units import NANO

USUAL_STEPS = 50
"""Steps that only decoded, by which the length of the next one is guessed."""


class Slot(Struct, frozen=True):
    """How far a request is."""

    read: int = 0
    """Tokens of its prompt."""
    decoded: int = 0

    @property
    def reads(self) -> bool:
        """Whether its next step reads its prompt."""
        return self.decoded == 0


Look = Mapping[int, Slot]
"""The requests in a slot, by seed."""


class StepWatts(Struct, frozen=True):
    """What a GPU draws by what its engine does. All that is in a slot goes through every step together."""

    idle: float = 60.0
    clocks: float = 30.0
    """Drawn while any slot works, on top of ``idle``."""
    engine: float = 120.0
    """Drawn while any slot works."""
    prefill: float = 180.0
    """Drawn in a step that reads prompts, however many: such a step keeps the whole GPU busy."""
    decode: float = 25.0
    """Drawn by each slot in a step that only decodes."""

    @property
    def awake(self) -> float:
        """Return what is drawn just for somebody being there: in equal parts by all in a slot."""
        return self.idle + self.clocks

    def drawn(self, look: Look) -> float:
        """Return the watts of the GPU."""
        return self.awake + self.working(look) if look else self.idle

    def working(self, look: Look) -> float:
        """Return what the next step draws on top of being awake."""
        if not look:
            return 0.0
        reading = any(slot.reads for slot in look.values())
        return self.engine + (self.prefill if reading else self.decode * len(look))


class Step(Struct):
    """The step that runs, as the looks since its beginning saw it."""

    slots: Look
    """As they were before it, with those that came meanwhile."""
    seconds: float = 0.0
    joules: float = 0.0
    """On top of being awake."""

    @property
    def only_decodes(self) -> bool:
        """Whether it reads no prompt."""
        return not any(slot.reads for slot in self.slots.values())

    def is_over(self, after: Look) -> bool:
        """Whether a look shows any work done since."""
        return any(after.get(seed) != slot for seed, slot in self.slots.items())

    def length(self, after: Look) -> float:
        """Return its seconds; if the look was late, those of one of several."""
        decoded = [after[seed].decoded - slot.decoded for seed, slot in self.slots.items() if seed in after]
        return self.seconds / max([1, *decoded])

    def shares(self, after: Look, usual: float) -> dict[int, float]:
        """Return each request's joules, once a look shows what the step has done.

        For as long as a step takes that only decodes, ``usual`` seconds, its energy is in equal parts of all
        in it. What it takes longer belongs to the prompt tokens that it read: one prompt of 20 tokens beside
        one of 300 draws a fifteenth of it, though both took as long.
        """
        read = {seed: self._read(seed, slot, after) for seed, slot in self.slots.items()}
        tokens = sum(read.values())
        common = min(usual / self.seconds, 1.0) if tokens and self.seconds else 1.0
        return {
            seed: self.joules * (common / len(read) + (1 - common) * part / max(tokens, 1))
            for seed, part in read.items()
        }

    def _read(self, seed: int, slot: Slot, after: Look) -> int:
        return max(after[seed].read - slot.read, 0) if seed in after else 0


class Slots:
    """Sets the power of one fake GPU by a llama.cpp server's slots, and keeps each request's joules."""

    def __init__(self, control: Control, watts: StepWatts, address: str) -> None:
        self.joules: dict[int, float] = defaultdict(float)
        """Energy truly drawn, by the request's seed."""
        self._control, self._watts, self._address = control, watts, address
        self.began = self._since = time.monotonic_ns()
        self._step = Step({})
        self._lengths: deque[float] = deque(maxlen=USUAL_STEPS)

    @contextmanager
    def follow(self, period: float = 0.02) -> Iterator[None]:
        """Look every ``period`` seconds until the block ends; afterwards the GPU is idle."""
        stop = threading.Event()
        failed: list[Exception] = []

        def look() -> None:
            try:
                with closing(http.client.HTTPConnection(self._address, timeout=30)) as server:
                    while not stop.wait(period):
                        self.take(_look(server), time.monotonic_ns())
            except Exception as problem:  # given on when the block ends
                failed.append(problem)

        self.take({}, time.monotonic_ns())
        thread = threading.Thread(target=look, name="slots", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.take({}, time.monotonic_ns())
        if failed:
            raise failed[0]

    def take(self, look: Look, now: int) -> None:
        """Charge the time since the last look to those seen then, and draw for those seen now."""
        step, elapsed = self._step, (now - self._since) / NANO
        self._since = now
        for seed in step.slots:
            self.joules[seed] += self._watts.awake * elapsed / len(step.slots)
        step.seconds += elapsed
        step.joules += self._watts.working(step.slots) * elapsed
        if step.is_over(look):
            self._end(step, look)
        elif step.slots:
            step.slots = look
        else:
            self._step = Step(look)
        self._control.power(0, self._watts.drawn(look))

    def _end(self, step: Step, look: Look) -> None:
        if step.only_decodes:
            self._lengths.append(step.length(look))
        usual = median(self._lengths) if self._lengths else 0.0
        for seed, joules in step.shares(look, usual).items():
            self.joules[seed] += joules
        self._step = Step(look)


def _look(server: http.client.HTTPConnection) -> dict[int, Slot]:
    server.request("GET", "/slots")
    slots: list[dict[str, Any]] = json.loads(server.getresponse().read())
    busy = (slot for slot in slots if slot["is_processing"])
    return {
        slot["params"]["seed"]: Slot(slot["n_prompt_tokens_processed"], slot["next_token"][0]["n_decoded"])
        for slot in busy
    }
