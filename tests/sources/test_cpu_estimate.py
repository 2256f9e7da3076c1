"""The modelled source, on real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from joulegate.errors import ConfigError, SourceUnavailable
from joulegate.model import Component, DeviceId, Tier
from joulegate.processes import Serving
from joulegate.sources.cpu_estimate import FIND_AGAIN, LOOK_AGAIN, Options, Plugin
from joulegate.units import Nanoseconds

LLM = DeviceId("cpu:llm")
SERVER = """
import os, signal, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(listener.getsockname()[1], flush=True)
for line in sys.stdin:
    words = line.split()
    child = os.fork() if words[0] == "child" else 0
    if child == 0:
        while os.times().user + os.times().system < float(words[1]): pass
        print("done", flush=True)
        if words[0] == "child":
            signal.pause()
"""


class Server:
    """A process that listens, and burns CPU time when told."""

    def __init__(self, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.port = int(self._line())

    def burn(self, seconds: float) -> None:
        """Bring the server's own CPU time to this."""
        self._say(f"self {seconds}")

    def burn_in_child(self, seconds: float) -> None:
        """Let a new child use this CPU time, and stay."""
        self._say(f"child {seconds}")

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        assert self._line() == "done"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


class Clock:
    """A clock that moves when the test says."""

    def __init__(self) -> None:
        self.now = Nanoseconds(0)

    def __call__(self) -> Nanoseconds:
        return self.now

    def wait(self, time: int = LOOK_AGAIN) -> None:
        self.now = Nanoseconds(self.now + time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(port: int = 0) -> Server:
        servers.append(Server(port))
        return servers[-1]

    yield begin
    for server in servers:
        server.kill()


def _plugin(clock: Clock, port: int, *, core: str = "10 W", idle: str = "0 W") -> Plugin:
    source = Plugin(Options(core, idle), upstreams={"llm": [("127.0.0.1", port)]}, clock=clock)
    source.open()
    return source


def _counter(source: Plugin) -> int:
    counter = source.read(LLM).counter
    assert counter is not None
    return counter


def _seconds(server: Server) -> float:
    times = psutil.Process(server.process.pid).cpu_times()
    return float(times.user + times.system)


def test_it_says_loudly_that_it_is_modelled(clock: Clock) -> None:
    """Each upstream is a device whose tier and note leave no doubt."""
    source = Plugin(upstreams={"llm": [("127.0.0.1", 1)], "image": [("localhost", 2)]}, clock=clock)
    llm, image = source.open()
    assert (llm.id, image.id) == (LLM, "cpu:image")
    assert (llm.tier, llm.component) == (Tier.ESTIMATE, Component.CPU)
    assert llm.note == "modelled: 5 W per busy core, not measured"


def test_energy_is_cpu_time_times_watts(clock: Clock, start: Callable[..., Server]) -> None:
    """A server that works for some CPU seconds at 10 W a core is charged ten times as many joules."""
    server = start()
    source = _plugin(clock, server.port)
    before, first = _seconds(server), _counter(source)
    server.burn(before + 0.3)
    clock.wait(Nanoseconds(100_000_000))
    joules = (_counter(source) - first) / 1e6
    assert joules == pytest.approx(10 * (_seconds(server) - before), abs=0.2)
    assert joules >= 2.8


def test_children_are_counted(clock: Clock, start: Callable[..., Server]) -> None:
    """The work of a child that was born between two looks is counted from its birth."""
    server = start()
    source = _plugin(clock, server.port)
    first = _counter(source)
    server.burn_in_child(0.2)
    clock.wait()
    assert _counter(source) - first >= 1_800_000


def test_a_child_that_ends_takes_nothing_back(clock: Clock, start: Callable[..., Server]) -> None:
    """The counter keeps what an ended child had used."""
    server = start()
    source = _plugin(clock, server.port)
    _counter(source)
    server.burn_in_child(0.1)
    clock.wait()
    with_child = _counter(source)
    (child,) = psutil.Process(server.process.pid).children()
    child.kill()
    clock.wait()
    assert _counter(source) >= with_child


def test_a_server_that_comes_later_is_found(clock: Clock, start: Callable[..., Server]) -> None:
    """Until the server runs, its device is unavailable, with the address; then it is read."""
    server = start()
    port = server.port
    server.kill()
    source = _plugin(clock, port)
    with pytest.raises(SourceUnavailable, match=f"nothing listens on 127.0.0.1:{port}"):
        source.read(LLM)
    start(port)
    clock.wait()
    assert _counter(source) == 0


def test_a_restart_keeps_the_counter(clock: Clock, start: Callable[..., Server]) -> None:
    """A server that ends is unavailable; the next one on its port goes on from the old counter."""
    server = start()
    source = _plugin(clock, server.port)
    _counter(source)
    server.burn(_seconds(server) + 0.1)
    before = _counter(source)
    server.kill()
    clock.wait()
    with pytest.raises(SourceUnavailable) as failure:
        source.read(LLM)
    assert failure.value.code == "no_process"
    again = start(server.port)
    clock.wait()
    assert _counter(source) == before > 0
    again.burn(_seconds(again) + 0.1)
    assert _counter(source) > before


def test_idle_watts_run_while_the_server_runs(clock: Clock, start: Callable[..., Server]) -> None:
    """Where the user states an idle power, it is drawn as long as the server is there."""
    server = start()
    source = _plugin(clock, server.port, core="0 W", idle="3 W")
    _counter(source)
    clock.wait(Nanoseconds(2_000_000_000))
    assert _counter(source) == 6_000_000


def test_upstreams_do_not_pay_for_one_another(clock: Clock, start: Callable[..., Server]) -> None:
    """Work of one server moves its own counter only."""
    busy, quiet = start(), start()
    upstreams = {"llm": [("127.0.0.1", busy.port)], "image": [("127.0.0.1", quiet.port)]}
    source = Plugin(upstreams=upstreams, clock=clock)
    _, image = source.open()
    first = _counter(source), source.read(image.id).counter
    busy.burn(_seconds(busy) + 0.2)
    assert _counter(source) > first[0]
    assert source.read(image.id).counter == first[1]
    assert list(source.devices_of([quiet.process.pid])) == [image.id]


def test_the_port_is_not_searched_at_every_reading(clock: Clock) -> None:
    """Searching the holder of a port is slow: it is done each 10 s while the server lives."""
    searches: list[int] = []

    def find(_host: str, _port: int) -> Serving:
        searches.append(1)
        return Serving((os.getpid(),))

    source = Plugin(upstreams={"llm": [("127.0.0.1", 1)]}, clock=clock, find=find)
    source.open()
    searches.clear()
    for _ in range(9):
        source.read(LLM)
        clock.wait()
    assert len(searches) == 1
    clock.wait(FIND_AGAIN)
    source.read(LLM)
    assert len(searches) == 2


def test_another_host_is_not_modelled(clock: Clock) -> None:
    """A server elsewhere has no CPU time here, and the reason names it."""
    source = Plugin(upstreams={"llm": [("192.0.2.7", 80)]}, clock=clock)
    with pytest.raises(SourceUnavailable, match=r"llm: 192\.0\.2\.7 is another host"):
        source.open()


def test_no_upstream_is_a_reason(clock: Clock) -> None:
    """Without upstreams there is nothing to model."""
    with pytest.raises(SourceUnavailable, match="no upstream"):
        Plugin(upstreams={}, clock=clock).open()


def test_a_unit_is_needed(clock: Clock) -> None:
    """A bare number is no power."""
    with pytest.raises(ConfigError, match="unit"):
        Plugin(Options("5"), upstreams={}, clock=clock)
