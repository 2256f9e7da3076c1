"""How a process learns that it should stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from joulegate.config.environment import variable
from joulegate.lifeline import LIFELINE, lifeline, parent_gone


@contextmanager
def told_to_stop(
    group: asyncio.TaskGroup, others: Callable[[], Awaitable[None]] | None = None
) -> Iterator[asyncio.Event]:
    """Return an event that is set by SIGTERM, by Ctrl-C, and when the supervisor is gone.

    A supervisor ends its processes in their order; without it, this one waits for ``others`` first.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watching = group.create_task(_orphaned(stop, others))
    try:
        yield stop
    finally:
        watching.cancel()


async def _orphaned(stop: asyncio.Event, others: Callable[[], Awaitable[None]] | None) -> None:
    line = lifeline({LIFELINE: variable(LIFELINE)})
    if line is not None:
        await parent_gone(line)
        if others is not None:
            await others()
        stop.set()
