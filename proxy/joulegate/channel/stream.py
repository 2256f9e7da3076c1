"""Frames from a byte stream of any transport."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from joulegate.channel.frames import FrameSplitter

READ = 1 << 16

F = TypeVar("F")


class FrameReader(Generic[F]):
    """Reads frames one by one."""

    def __init__(self, reader: asyncio.StreamReader, unpack: Callable[[bytes], F]) -> None:
        self._reader = reader
        self._unpack = unpack
        self._splitter = FrameSplitter()
        self._bodies: deque[bytes] = deque()

    async def next(self) -> F:
        """Return the next frame. Raises ``FrameError``, ``OSError``, and ``EOFError`` at the end."""
        while not self._bodies:
            data = await self._reader.read(READ)
            if not data:
                raise EOFError("the other end closed the connection")
            self._bodies.extend(self._splitter.feed(data))
        return self._unpack(self._bodies.popleft())
