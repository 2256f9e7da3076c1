"""How a child process learns that its supervisor is gone: a pipe that ends when its only writer does.

This works after ``kill -9``, on every POSIX system, and without a race between start and death, which
``PR_SET_PDEATHSIG`` and asking for the parent's pid both have.
"""

import asyncio
import os
from collections.abc import Mapping

from msgspec import Struct

LIFELINE = "JOULEGATE_LIFELINE"
"""Environment variable of a child: the two descriptors of its ``Lifeline``, joined by a colon."""

STDERR = 2


class Lifeline(Struct, frozen=True):
    """Descriptors that a child inherits from its supervisor."""

    end: int
    """Read end of a pipe to which nobody ever writes."""
    output: int
    """The supervisor's own standard error: the child's is a pipe that the supervisor reads."""

    def __str__(self) -> str:
        return f"{self.end}:{self.output}"


def lifeline(environment: Mapping[str, str]) -> Lifeline | None:
    """Return the lifeline that the supervisor handed down, or ``None`` for a process without supervisor."""
    end, _, output = environment.get(LIFELINE, "").partition(":")
    if not (end.isdecimal() and output.isdecimal()):
        return None
    return Lifeline(int(end), int(output))


async def parent_gone(line: Lifeline) -> None:
    """Wait until the supervisor is dead, then log to where it logged: treat it like SIGTERM."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(line.end, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(line.end)
    os.dup2(line.output, STDERR)
