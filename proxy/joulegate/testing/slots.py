"""A fake GPU that draws what a llama.cpp server works for, and the truth of who drew it.

llama.cpp's ``GET /slots`` says at every instant which request is in which slot and how many tokens it has
decoded (tools/server/README.md of https://github.com/ggml-org/llama.cpp). A request is known by its ``seed``.
"""

import http.client
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from msgspec import Struct

from joulegate.testing.nvml import Control
from joulegate.units import NANO


class StepWatts(Struct, frozen=True):
    """What a GPU draws by what its engine does.

    Being awake is shared by all in a slot. The engine's own watts belong to those it works for: while it
    reads prompts, who has read his waits and draws only his part of being awake.
    """

    idle: float = 60.0
    clocks: float = 30.0
    """Drawn while any slot works, on top of ``idle``."""
    engine: float = 120.0
    """Drawn while any slot works, in equal parts by those that the engine works for."""
    prefill: float = 90.0
    """Drawn by each slot that reads its prompt."""
    decode: float = 25.0
    """Drawn by each slot that decodes while nobody reads a prompt."""

    def shares(self, decoded: Mapping[int, int]) -> dict[int, float]:
        """Give the watts of each request in a slot by the tokens it has decoded; their sum is the GPU's."""
        reading = {request for request, tokens in decoded.items() if tokens == 0}
        working, own = (reading, self.prefill) if reading else (set(decoded), self.decode)
        awake = (self.idle + self.clocks) / max(len(decoded), 1)
        return {
            request: awake + (self.engine / len(working) + own if request in working else 0.0)
            for request in decoded
        }


class Slots:
    """Sets the power of one fake GPU by a llama.cpp server's slots, and keeps each request's joules."""

    def __init__(self, control: Control, watts: StepWatts, address: str) -> None:
        self.joules: dict[int, float] = defaultdict(float)
        """Energy truly drawn, by the request's seed."""
        self.present: list[tuple[float, float, frozenset[int]]] = []
        """Seconds, watts of the GPU, and the requests in a slot meanwhile."""
        self._control, self._watts, self._address = control, watts, address
        self._since, self._shares = time.monotonic_ns(), dict[int, float]()

    @contextmanager
    def follow(self, period: float = 0.02) -> Iterator[None]:
        """Look every ``period`` seconds until the block ends; afterwards the GPU is idle."""
        stop = threading.Event()
        failed: list[Exception] = []

        def look() -> None:
            try:
                with closing(http.client.HTTPConnection(self._address, timeout=30)) as server:
                    while not stop.wait(period):
                        self.take(_decoded(server))
            except Exception as problem:  # given on when the block ends
                failed.append(problem)

        self.take({})
        thread = threading.Thread(target=look, name="slots", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.take({})
        if failed:
            raise failed[0]

    def take(self, decoded: Mapping[int, int]) -> None:
        """Charge the time since the last look to those seen then, and draw for those seen now."""
        now = time.monotonic_ns()
        elapsed = (now - self._since) / NANO
        for request, watts in self._shares.items():
            self.joules[request] += watts * elapsed
        drawn = sum(self._shares.values()) or self._watts.idle
        self.present.append((elapsed, drawn, frozenset(self._shares)))
        self._since, self._shares = now, self._watts.shares(decoded)
        self._control.power(0, sum(self._shares.values()) or self._watts.idle)


def _decoded(server: http.client.HTTPConnection) -> dict[int, int]:
    """Give the tokens decoded so far of each request in a slot, by its seed."""
    server.request("GET", "/slots")
    slots: list[dict[str, Any]] = json.loads(server.getresponse().read())
    busy = (slot for slot in slots if slot["is_processing"])
    return {slot["params"]["seed"]: slot["next_token"][0]["n_decoded"] for slot in busy}
