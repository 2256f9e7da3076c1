"""The supervisor keeps its children up, ends them in order, and its own death leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog

from joulegate.child import LOOP, ChildSpec
from joulegate.supervisor import Supervisor

CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from joulegate.lifeline import lifeline, parent_gone

name, journal, drain = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])

def note(what):
    with journal.open("a") as file:
        file.write(f"{name} {what} {os.getpid()}\\n")

async def main():
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    gone = loop.create_task(parent_gone(lifeline(os.environ)))
    gone.add_done_callback(lambda _: end.set())
    note("up")
    await end.wait()
    print("a log line", file=sys.stderr, flush=True)
    note("draining")
    await asyncio.sleep(drain)
    note("down")

asyncio.run(main())
"""
"""A child that writes its life into a journal, and ends by SIGTERM or with its supervisor."""

PARENT = """
import asyncio, json, os, sys
from joulegate.child import ChildSpec
from joulegate.supervisor import Supervisor
specs = [ChildSpec(**spec) for spec in json.loads(sys.argv[1])]
supervisor = Supervisor(specs, grace=float(sys.argv[2]), environment=os.environ)
sys.exit(asyncio.run(supervisor.run()))
"""


class Journal:
    """What the children wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def lines(self) -> list[tuple[str, str, int]]:
        words = [line.split() for line in self.path.read_text().splitlines()]
        return [(name, what, int(pid)) for name, what, pid in words]

    def says(self) -> list[str]:
        return [f"{name} {what}" for name, what, _ in self.lines()]

    def pid(self, name: str) -> int:
        """The latest process of a child."""
        return [pid for who, what, pid in self.lines() if (who, what) == (name, "up")][-1]

    def child(self, name: str, stage: int, drain: float = 0) -> ChildSpec:
        argv = (sys.executable, "-c", CHILD, name, str(self.path), str(drain))
        return ChildSpec(name, argv, stage=stage)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the children holds, at most twenty seconds."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal")
    yield journal
    for name, what, pid in journal.lines():
        if what == "up" and runs(pid):
            os.kill(pid, signal.SIGKILL)
            pytest.fail(f"{name} was left running")


@pytest.fixture
def pair(journal: Journal) -> list[ChildSpec]:
    """A meter and two gates that drain for a moment."""
    return [
        journal.child("gate-0", 1, drain=0.2),
        journal.child("gate-1", 1, drain=0.2),
        journal.child("meter", 0),
    ]


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@asynccontextmanager
async def supervised(
    specs: list[ChildSpec], grace: float = 10, output: Callable[[bytes], None] = lambda lines: None
) -> AsyncIterator[tuple[Supervisor, asyncio.Task[int]]]:
    supervisor = Supervisor(specs, grace=grace, environment=os.environ, output=output)
    task = asyncio.get_running_loop().create_task(supervisor.run())
    try:
        yield supervisor, task
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def parent(specs: list[ChildSpec], grace: float = 10) -> AsyncIterator[asyncio.subprocess.Process]:
    """A supervisor in a process of its own."""
    described = json.dumps([{"name": spec.name, "argv": spec.argv, "stage": spec.stage} for spec in specs])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, described, str(grace), stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_the_meter_starts_first_and_ends_last(journal: Journal, pair: list[ChildSpec]) -> None:
    """Gates drain while there is still a meter to hear of it, and the end is a success."""
    async with supervised(pair) as (supervisor, task):
        await journal.until(lambda: journal.says().count("gate-1 up") == 1 and len(journal.says()) == 3)
        pids = supervisor.pids()
        assert list(pids) == ["meter", "gate-0", "gate-1"]
        assert pids["meter"] == journal.pid("meter")
        supervisor.stop()
        assert await task == 0
    says = journal.says()
    assert says[-2:] == ["meter draining", "meter down"]
    assert sorted(says[3:-2]) == ["gate-0 down", "gate-0 draining", "gate-1 down", "gate-1 draining"]


@pytest.mark.parametrize("victim", ["meter", "gate-0"])
async def test_a_killed_child_is_restarted_and_the_others_live_on(
    journal: Journal, pair: list[ChildSpec], victim: str
) -> None:
    """kill -9 of one process does not touch the requests of another."""
    async with supervised(pair) as (supervisor, task):
        await journal.until(lambda: len(journal.says()) == 3)
        before = supervisor.pids()
        with structlog.testing.capture_logs() as logs:
            os.kill(journal.pid(victim), signal.SIGKILL)
            await journal.until(lambda: journal.says().count(f"{victim} up") == 2)
        after = supervisor.pids()
        assert after.pop(victim) != before.pop(victim)
        assert after == before
        assert journal.says()[3:] == [f"{victim} up"]
        assert [(line["event"], line["name"]) for line in logs] == [
            ("process.died", victim),
            ("process.restarted", victim),
        ]
        assert logs[0]["signal"] == "Killed"
        supervisor.stop()
        assert await task == 0


async def test_a_meter_killed_while_gates_drain_is_restarted(journal: Journal) -> None:
    """The last requests of the gates are counted even then."""
    specs = [journal.child("meter", 0), journal.child("gate", 1, drain=1)]
    async with supervised(specs) as (supervisor, task):
        await journal.until(lambda: len(journal.says()) == 2)
        supervisor.stop()
        await journal.until(lambda: "gate draining" in journal.says())
        os.kill(journal.pid("meter"), signal.SIGKILL)
        assert await task == 0
    says = journal.says()
    assert says.count("meter up") == 2
    assert says[-1] == "meter down"


async def test_a_wrong_configuration_ends_the_run_with_its_code(journal: Journal) -> None:
    """Nothing is tried again and again that cannot work; the others are ended in order."""
    wrong = ChildSpec("gate", (sys.executable, "-c", "exit(2)"), stage=1)
    async with supervised([journal.child("meter", 0), wrong]) as (_, task):
        assert await task == 2


async def test_a_program_that_is_missing_ends_the_run() -> None:
    """A wrong path is found at once, and named."""
    said: list[bytes] = []
    async with supervised([ChildSpec("gate", ("/no/such",))], output=said.append) as (_, task):
        assert await task == 127
    assert said == [b"/no/such cannot be started: No such file or directory\n"]


@pytest.mark.parametrize(("script", "code"), [("exit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
async def test_the_end_of_a_child_that_is_not_restarted_ends_the_run(
    journal: Journal, script: str, code: int
) -> None:
    """A wrapped command's exit code is joulegate's, as in a shell."""
    command = ChildSpec("command", (sys.executable, "-c", script), restart=False, stage=1)
    async with supervised([journal.child("meter", 0), command]) as (_, task):
        assert await task == code


async def test_a_crash_loop_is_said_once_with_the_last_lines() -> None:
    """The person who looks at the log finds the reason in one place, not a thousand times."""
    script = "import sys; sys.exit('the reason')"
    died = 0
    said: list[bytes] = []

    def count(lines: bytes) -> None:
        nonlocal died
        died += 1
        said.append(lines)
        if died > LOOP + 1:
            more.set()

    more = asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        async with supervised([ChildSpec("gate", (sys.executable, "-c", script))], output=count) as (
            sup,
            task,
        ):
            async with asyncio.timeout(20):
                await more.wait()
            sup.stop()
            assert await task == 0
    loud = [line for line in logs if line["log_level"] == "error"]
    assert [line["last_lines"] for line in loud] == [["the reason"] * LOOP]
    assert len([line for line in logs if line["event"] == "process.died"]) == LOOP
    assert set(said) == {b"the reason\n"}


async def test_a_child_that_does_not_end_within_the_grace_is_killed(journal: Journal) -> None:
    """A hanging gate keeps neither the meter's last flush nor the exit from coming."""
    specs = [journal.child("meter", 0), journal.child("gate", 1, drain=600)]
    with structlog.testing.capture_logs() as logs:
        async with supervised(specs, grace=0.3) as (supervisor, task):
            await journal.until(lambda: len(journal.says()) == 2)
            supervisor.stop()
            assert await task == 0
    assert journal.says()[2:] == ["gate draining", "meter draining", "meter down"]
    assert [line["names"] for line in logs if line["event"] == "process.killed"] == [["gate"]]


async def test_a_second_request_to_stop_kills(journal: Journal) -> None:
    """An impatient person gets the prompt back."""
    specs = [journal.child("meter", 0), journal.child("gate", 1, drain=600)]
    async with supervised(specs, grace=600) as (supervisor, task):
        await journal.until(lambda: len(journal.says()) == 2)
        supervisor.stop()
        await journal.until(lambda: "gate draining" in journal.says())
        supervisor.stop()
        assert await task == 1
    assert "meter down" not in journal.says()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_everything_in_order(
    journal: Journal, pair: list[ChildSpec], number: signal.Signals
) -> None:
    """SIGTERM and Ctrl-C drain, and the exit code is 0."""
    async with parent(pair) as process:
        await journal.until(lambda: len(journal.says()) == 3)
        process.send_signal(number)
        _, log = await process.communicate()
        assert process.returncode == 0, log.decode()
        assert journal.says()[-1] == "meter down"
        assert log.count(b"a log line") == 3


async def test_a_second_signal_kills_everything(journal: Journal) -> None:
    """Nothing is left running by an impatient person."""
    async with parent([journal.child("meter", 0), journal.child("gate", 1, drain=600)], grace=600) as process:
        await journal.until(lambda: len(journal.says()) == 2)
        process.send_signal(signal.SIGINT)
        await journal.until(lambda: "gate draining" in journal.says())
        process.send_signal(signal.SIGINT)
        await process.communicate()
        assert process.returncode == 1
        assert not any(runs(pid) for _, _, pid in journal.lines())


async def test_children_outlive_a_killed_supervisor_only_to_drain(
    journal: Journal, pair: list[ChildSpec]
) -> None:
    """kill -9 of the supervisor cuts no request, loses no log line and leaves nothing running."""
    async with parent(pair) as process:
        await journal.until(lambda: len(journal.says()) == 3)
        process.kill()
        await journal.until(lambda: sum(word.endswith("down") for word in journal.says()) == 3)
        _, log = await process.communicate()
        assert log.count(b"a log line") == 3
        await journal.until(lambda: not any(runs(pid) for _, _, pid in journal.lines()))


WRITER = """
import os, sys, time
from pathlib import Path
parent = os.getppid()
journal = Path(sys.argv[1])
journal.write_text(f"writer up {os.getpid()}\\n")
while os.getppid() == parent:
    time.sleep(0.01)
print("nobody reads this", file=sys.stderr, flush=True)
with journal.open("a") as file:
    file.write(f"writer down {os.getpid()}\\n")
"""


async def test_a_log_line_after_the_death_of_the_supervisor_breaks_nothing(journal: Journal) -> None:
    """A request that logs in the moment before its gate notices is not cut by a broken pipe."""
    spec = ChildSpec("writer", (sys.executable, "-c", WRITER, str(journal.path)))
    async with parent([spec]) as process:
        await journal.until(lambda: journal.says() == ["writer up"])
        process.kill()
        await journal.until(lambda: journal.says() == ["writer up", "writer down"])
        await process.communicate()
    await journal.until(lambda: not any(runs(pid) for _, _, pid in journal.lines()))


async def test_environment_and_descriptors_reach_every_child(tmp_path: Path) -> None:
    """Children get the supervisor's environment, their own additions, and what they shall inherit."""
    reading, writing = os.pipe()
    script = f"import os; os.write({writing}, (os.environ['A'] + os.environ['B']).encode())"
    spec = ChildSpec("c", (sys.executable, "-c", script), {"B": "own"}, restart=False)
    environment: dict[str, Any] = {**os.environ, "A": "given ", "B": "hidden"}
    assert await Supervisor([spec], grace=1, environment=environment, inherit=[writing]).run() == 0
    assert os.read(reading, 100) == b"given own"
    os.close(reading)
    os.close(writing)
