"""What a gate does beside its callbacks: connecting, uploads, files. The gate owns the task of each."""

import asyncio
from collections.abc import Coroutine


class BackgroundTasks:
    """Runs coroutines until they end or the gate does. They handle their own errors."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, coroutine: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        """Begin one; return its task."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        """Cancel all of them and wait for their ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
