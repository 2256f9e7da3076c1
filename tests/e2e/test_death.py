"""``kill -9`` of any one process: requests elsewhere go on, and no joule is counted twice or lost."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from joulegate.testing.nvml import Control, Gpu

pytestmark = pytest.mark.e2e

CONFIG = '[attribution]\nsettle = "2 s"\n[[upstream]]\nname = "llm"\nurl = "{url}"\ngpus = [0]\n'
TOKENS = 48


class Stream(threading.Thread):
    """A client that reads one long answer."""

    def __init__(self, base: str, model: str) -> None:
        super().__init__(daemon=True)
        self._base, self._model = base, model
        self.begun = threading.Event()
        self.tokens = 0

    def run(self) -> None:
        with suppress(Exception):  # a cut stream is what whole() tells
            self._read()

    def _read(self) -> None:
        with openai.OpenAI(base_url=f"{self._base}/v1", api_key="none", max_retries=0, timeout=120) as client:
            wish = {"model": self._model, "prompt": "Once upon a time", "max_tokens": TOKENS}
            for _ in client.completions.create(**wish, stream=True):
                self.tokens += 1
                self.begun.set()

    def started(self) -> "Stream":
        self.start()
        assert self.begun.wait(60)
        return self

    def whole(self) -> bool:
        self.join(120)
        return self.tokens >= TOKENS


def children(pid: int, name: str) -> list[psutil.Process]:
    """Return the gates or the meter of a running joulegate."""
    return [child for child in psutil.Process(pid).children() if is_named(child, name)]


def is_named(child: psutil.Process, name: str) -> bool:
    """Whether a child does this part; one that was killed a moment ago does none."""
    try:
        return child.cmdline()[3] == name
    except psutil.Error:
        return False


@pytest.fixture
def gpu(tmp_path: Path) -> Control:
    return Control(tmp_path / "gpu", [Gpu("GPU-0", watts=0)])


def test_a_killed_meter_costs_no_request_and_no_joule(
    llama: Any, joulegate: Any, library: Path, gpu: Control, eventually: Callable[..., Any]
) -> None:
    """The gate goes on, the next meter hears everything again, and the books go on where they were."""
    first = gpu.counter(0)
    with joulegate(CONFIG.format(url=llama.url), env=gpu.environment(library)) as running:
        with gpu.follow(0, [llama.pid], idle_watts=50, watts_per_core=100):
            assert Stream(running.proxy, llama.model).started().whole()
            running.settled(1)
            stream = Stream(running.proxy, llama.model).started()
            (meter,) = children(running.pid, "meter")
            meter.kill()
            assert stream.whole()
            eventually(lambda: children(running.pid, "meter") or None, "the meter is started again")
        gpu.power(0, 0)
        status = running.settled(2)
        (device,) = status["devices"]
        assert sum(total["requests"] for total in status["totals"]) == 2
        assert device["measured"] == gpu.counter(0) - first
        assert device["conservation_error"] == 0
        assert sum(total["energy"] for total in status["totals"]) == device["requests"]


def test_a_killed_gate_costs_only_its_own_requests(
    llama: Any, joulegate: Any, library: Path, gpu: Control, eventually: Callable[..., Any]
) -> None:
    """With two gates, the streams of one survive the death of the other, which is started again."""
    with joulegate(CONFIG.format(url=llama.url), gates=2, env=gpu.environment(library)) as running:
        streams = [Stream(running.proxy, llama.model).started() for _ in range(3)]
        served = {gate["pid"]: gate for gate in with_work(running, eventually)}
        victim = min(served)
        os.kill(victim, signal.SIGKILL)
        whole = sum(stream.whole() for stream in streams)
        assert whole == 3 - served[victim]["in_flight"]
        eventually(lambda: len(children(running.pid, "gate")) == 2 or None, "the gate is started again")
        assert Stream(running.proxy, llama.model).started().whole()


def with_work(running: Any, eventually: Callable[..., Any]) -> list[dict[str, Any]]:
    """Wait until the gates have reported all three streams."""

    def look() -> list[dict[str, Any]] | None:
        gates = [gate for gate in running.status()["gates"] if gate["connected"]]
        return gates if sum(gate["in_flight"] for gate in gates) == 3 else None

    return list(eventually(look, "three streams are reported"))


def test_a_killed_supervisor_leaves_nothing_behind_and_cuts_nothing(
    llama: Any, joulegate: Any, library: Path, gpu: Control, eventually: Callable[..., Any]
) -> None:
    """Gates and meter notice, let the running request end, book it, and end themselves."""
    with joulegate(CONFIG.format(url=llama.url), env=gpu.environment(library)) as running:
        mine = psutil.Process(running.pid).children()
        stream = Stream(running.proxy, llama.model).started()
        os.kill(running.pid, signal.SIGKILL)
        assert stream.whole()
        _, alive = psutil.wait_procs(mine, timeout=60)
        assert alive == []
        assert running.ledger_rows() == 1
