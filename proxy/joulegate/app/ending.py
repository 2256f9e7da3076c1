"""How a process learns that it should stop."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from joulegate.config.environment import variable
from joulegate.lifeline import LIFELINE, lifeline, parent_gone


@contextmanager
def told_to_stop(group: asyncio.TaskGroup) -> Iterator[asyncio.Event]:
    """Give an event that is set by SIGTERM, by Ctrl-C, and when the supervisor is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watching = group.create_task(_orphaned(stop))
    try:
        yield stop
    finally:
        watching.cancel()


async def _orphaned(stop: asyncio.Event) -> None:
    line = lifeline({LIFELINE: variable(LIFELINE)})
    if line is not None:
        await parent_gone(line)
        stop.set()
