"""A child learns of its supervisor's death, and logs where the supervisor did."""

import asyncio
import os
import subprocess
import sys

import pytest

from joulegate.lifeline import LIFELINE, Lifeline, lifeline, parent_gone

CHILD = """
import asyncio, os, sys
from joulegate.lifeline import lifeline, parent_gone
line = lifeline(os.environ)
print("up", flush=True)
asyncio.run(parent_gone(line))
print("last words", file=sys.stderr)
"""


def test_a_line_is_handed_down_by_the_environment() -> None:
    """What the supervisor writes is what the child reads."""
    assert lifeline({LIFELINE: str(Lifeline(7, 8))}) == Lifeline(7, 8)


@pytest.mark.parametrize("environment", [{}, {LIFELINE: ""}, {LIFELINE: "x:y"}, {LIFELINE: "7"}])
def test_a_process_of_its_own_has_no_line(environment: dict[str, str]) -> None:
    """A gate or meter that was started by hand depends on nobody."""
    assert lifeline(environment) is None


def test_the_end_of_the_only_writer_is_noticed_and_the_log_goes_on() -> None:
    """After the supervisor's death the child's messages appear where the supervisor's did."""
    end, writing = os.pipe()
    log_end, log = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env={**os.environ, LIFELINE: str(Lifeline(end, log))},
        pass_fds=(end, log),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    assert child.poll() is None
    os.close(writing)
    assert child.wait(10) == 0
    assert os.read(log_end, 100) == b"last words\n"
    child.stdout.close()
    for descriptor in (end, log_end, log):
        os.close(descriptor)


async def test_a_living_supervisor_is_waited_for() -> None:
    """While the pipe has its writer nothing happens."""
    end, writing = os.pipe()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await parent_gone(Lifeline(end, 2))
    os.close(end)
    os.close(writing)
