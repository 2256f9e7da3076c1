"""One child process: started, heard, ended, and judged when it dies."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.child import (
    CANNOT_START,
    CONFIG_ERROR,
    LAST_DELAY,
    LAST_LINES,
    LOOP,
    SEASONED,
    Child,
    ChildSpec,
    Restarts,
)

Make = Callable[[str], Child]


@pytest.fixture
def heard() -> list[bytes]:
    return []


@pytest.fixture
def python(heard: list[bytes]) -> Make:
    """Makes a child that runs a Python script."""

    def make(script: str) -> Child:
        return Child(ChildSpec("c", (sys.executable, "-c", script)), os.environ, (), heard.append)

    return make


def test_delays_double_up_to_the_longest() -> None:
    """A child that keeps dying is started less and less often, but always again."""
    restarts = Restarts()
    delays = [restarts.died(1, 0.1).delay for _ in range(8)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LAST_DELAY, LAST_DELAY]
    assert restarts.looping


def test_a_sound_life_clears_the_record() -> None:
    """A child that lived well is started again at once."""
    restarts = Restarts()
    for _ in range(LOOP):
        restarts.died(1, 0.1)
    assert restarts.looping
    restarts.survived()
    assert not restarts.looping
    assert restarts.died(-9, SEASONED).delay == 0.1


@pytest.mark.parametrize("code", [CONFIG_ERROR, CANNOT_START])
def test_a_wrong_configuration_is_given_up_only_at_start(code: int) -> None:
    """Nobody waits for a start that cannot succeed; what once worked is tried again."""
    assert Restarts().died(code, 0.1).delay is None
    restarts = Restarts()
    restarts.died(-9, SEASONED)
    assert restarts.died(code, 0.1).delay is not None


@given(st.lists(st.tuples(st.sampled_from([0, 1, -9, -11]), st.floats(0, 100)), max_size=50))
def test_a_child_is_always_started_again_within_the_longest_delay(deaths: list[tuple[int, float]]) -> None:
    """No history of deaths leaves a child down for good."""
    restarts = Restarts()
    for code, age in deaths:
        delay = restarts.died(code, age).delay
        assert delay is not None
        assert 0 < delay <= LAST_DELAY


@pytest.mark.parametrize(
    ("script", "code"), [("", 0), ("exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)]
)
async def test_the_exit_code_is_given(python: Make, script: str, code: int) -> None:
    """What ended a process is known."""
    child, started = python(script), asyncio.Event()
    assert await child.live(started.set) == code
    assert started.is_set()
    assert child.pid is None


async def test_whole_lines_are_passed_on_and_the_last_ones_kept(python: Make, heard: list[bytes]) -> None:
    """Lines of several children never mix, and the end of the log is at hand after a death."""
    child = python(
        "import os\n"
        f"for number in range({LAST_LINES + 5}): os.write(2, b'line %d' % number); os.write(2, b'\\n')\n"
        "os.write(2, b'no end \\xff')"
    )
    await child.live(lambda: None)
    assert heard == [*(b"line %d\n" % number for number in range(LAST_LINES + 5)), b"no end \xff\n"]
    assert list(child.last_lines) == [
        *(f"line {number}" for number in range(6, LAST_LINES + 5)),
        "no end \N{REPLACEMENT CHARACTER}",
    ]


async def test_a_flood_of_log_neither_blocks_nor_is_lost(python: Make, heard: list[bytes]) -> None:
    """A child that writes more than a pipe holds is read while it runs; endless lines are cut."""
    child = python("import os\nfor _ in range(50): os.write(2, b'x' * 10_000)")
    assert await child.live(lambda: None) == 0
    assert b"".join(heard).replace(b"\n", b"") == b"x" * 500_000
    assert max(map(len, heard)) < 200_000


async def test_what_cannot_be_started_says_why(heard: list[bytes]) -> None:
    """A missing program is an exit code with a message that names it."""
    child = Child(ChildSpec("c", ("/no/such/program",)), {}, (), heard.append)
    assert await child.live(lambda: None) == CANNOT_START
    assert heard == [b"/no/such/program cannot be started: No such file or directory\n"]


async def test_retiring_asks_and_killing_does_not(python: Make) -> None:
    """SIGTERM lets a process finish; SIGKILL takes what it started along."""
    polite = python(
        "import signal, sys, os\n"
        "signal.signal(15, lambda *_: sys.exit(5))\n"
        "os.write(2, b'up\\n')\n"
        "signal.pause()"
    )
    stubborn = python(
        "import signal, subprocess, sys, os\n"
        "signal.signal(15, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "os.write(2, b'%d\\n' % child.pid)\n"
        "child.wait()"
    )
    lives = [asyncio.get_running_loop().create_task(child.live(lambda: None)) for child in (polite, stubborn)]
    async with asyncio.timeout(10):
        while not (polite.last_lines and stubborn.last_lines):
            await asyncio.sleep(0.01)
        polite.retire()
        stubborn.retire()
        assert await lives[0] == 5
        assert not lives[1].done()
        stubborn.kill()
        assert await lives[1] == -signal.SIGKILL
        grandchild = int(stubborn.last_lines[0])
        while _runs(grandchild):
            await asyncio.sleep(0.01)
    assert polite.retiring.is_set()


async def test_a_child_asked_to_end_while_it_starts_ends(python: Make) -> None:
    """A signal in the moment of a start is not lost."""
    child = python("import time; time.sleep(60)")
    life = asyncio.get_running_loop().create_task(child.live(lambda: None))
    await asyncio.sleep(0)
    child.retire()
    async with asyncio.timeout(10):
        assert await life == -signal.SIGTERM


async def test_a_cancelled_life_leaves_no_process(python: Make) -> None:
    """An error in the supervisor leaves nothing running."""
    child, pids = python("import time; time.sleep(60)"), list[int | None]()
    up = asyncio.Event()

    def started() -> None:
        pids.append(child.pid)
        up.set()

    life = asyncio.get_running_loop().create_task(child.live(started))
    await up.wait()
    life.cancel()
    await asyncio.wait([life])
    [pid] = pids
    assert pid is not None
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
