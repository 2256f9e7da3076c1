"""Frames from a byte stream of any transport, and what ends a conversation."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from msgspec import Struct

from joulegate.channel.frames import FrameSplitter, unknown_parts

READ = 1 << 16
BEAT_SECONDS = 0.5
"""Time between two heartbeats."""
SILENT_BEATS = 6
"""Beats without a byte from the other end after which it counts as gone. Beats are counted and not seconds:
an end that was stopped itself finds first what has come meanwhile."""

F = TypeVar("F", bound=Struct)


class FrameReader(Generic[F]):
    """Reads frames one by one; ``ignored`` hears how many parts of one this version does not know, if any."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        unpack: Callable[[bytes], F | None],
        ignored: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.reads = 0
        """How often something came."""
        self._reader = reader
        self._unpack = unpack
        self._ignored = ignored
        self._splitter = FrameSplitter()
        self._bodies: deque[bytes] = deque()

    async def next(self) -> F:
        """Return the next known frame. Raises ``FrameError``, ``OSError``, and ``EOFError`` at the end."""
        while True:
            while not self._bodies:
                data = await self._reader.read(READ)
                if not data:
                    raise EOFError("the other end closed the connection")
                self.reads += 1
                self._bodies.extend(self._splitter.feed(data))
            body = self._bodies.popleft()
            frame = self._unpack(body)
            if unknown := unknown_parts(body, frame):
                self._ignored(unknown)
            if frame is not None:
                return frame


async def until_silent(frames: FrameReader[F], each_beat: Callable[[], object], *, beat: float) -> None:
    """Do something at each beat until nothing has come for too many of them; then raise ``TimeoutError``."""
    silent, reads = 0, frames.reads
    while silent < SILENT_BEATS:
        each_beat()
        await asyncio.sleep(beat)
        silent = silent + 1 if frames.reads == reads else 0
        reads = frames.reads
    raise TimeoutError(f"the other end has said nothing for {silent * beat:g} s")


async def until_one_fails(*conversations: Coroutine[None, None, None]) -> None:
    """Run them side by side, end them all with the first error, and raise that.

    An error is passed by a future, because a task group that ends by an error of its task forgets a
    cancellation of its own that comes meanwhile, up to Python 3.12.
    """
    failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def watch(conversation: Coroutine[None, None, None]) -> None:
        try:
            await conversation
        except Exception as error:
            if not failure.done():
                failure.set_result(error)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watch(conversation)) for conversation in conversations]
        error = await failure
        for task in tasks:
            task.cancel()
    raise error
