"""The body of a request on its way from the client: in memory while small, else passed on as it comes."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable
from typing import IO

from aiohttp.web_protocol import RequestPayloadError

from joulegate.gateway.client import BodyMalformed, BodyTimeout, Incoming
from joulegate.gateway.upstream import Clock
from joulegate.gateway.watch import Watchdog
from joulegate.units import Nanoseconds

SMALL = 64 * 1024
"""A body of at most this size may be held whole."""

BROKEN = (BodyMalformed, RequestPayloadError)
"""What reading raises when the client's framing is broken."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestBody:
    """Reads one request body; a client that stalls makes reading raise ``BodyTimeout``."""

    __slots__ = (
        "_clock", "_deadline", "_expects_go", "_incoming", "_parts", "_passed", "_patience", "_payload",
        "_size", "_spool", "_spooled", "_watchdog", "chunked", "complete", "length",
    )  # fmt: skip

    def __init__(self, incoming: Incoming, patience: Nanoseconds, clock: Clock, watchdog: Watchdog) -> None:
        message = incoming.message
        length = incoming.fields.get(b"content-length")
        self._incoming = incoming
        self._payload = incoming.payload
        self._patience = patience
        self._clock = clock
        self._watchdog = watchdog
        self._deadline: Nanoseconds | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._passed = False
        self._spool: IO[bytes] | None = None
        self._spooled = 0
        self.chunked: bool = message.chunked
        self.length = int(length) if length is not None else None
        """``None``: chunked, or no body at all."""
        self.complete = not self.chunked and not self.length
        """All of it has been read."""
        expectation = incoming.fields.get(b"expect")
        self._expects_go = expectation is not None and expectation.lower() == b"100-continue"

    @property
    def small(self) -> bytes | None:
        """The whole body, if it has been read and is in memory: then it can be sent again."""
        return b"".join(self._parts) if self.complete and not self._spool and not self._passed else None

    async def gather(self, most: int = SMALL, heard: Callable[[bytes], None] | None = None) -> None:
        """Read until the body ends or is larger than ``most``; ``heard`` gets every part."""
        while not self.complete and self._size <= most:
            part = await self._read()
            self._parts.append(part)
            self._size += len(part)
            if heard:
                heard(part)

    async def spool(self, enough: Callable[[], bool], heard: Callable[[bytes], None]) -> None:
        """Read on into a temporary file until there is ``enough`` or the body ends."""
        while not self.complete and not enough():
            part = await self._read()
            if self._spool is None:
                self._spool = await asyncio.to_thread(tempfile.TemporaryFile)
            await asyncio.to_thread(self._spool.write, part)
            self._spooled += len(part)
            heard(part)

    async def parts(self) -> AsyncGenerator[tuple[bytes, bool], None]:
        """Give all of it in order, and with each part whether it is new: it has not been ``heard``."""
        self._passed = True
        for part in self._parts:
            yield part, False
        self._parts = []
        if self._spool:
            await asyncio.to_thread(self._spool.seek, 0)
            while self._spooled:  # Nothing is waited for once the last part is out: the answer may come.
                part = await asyncio.to_thread(self._spool.read, SMALL)
                self._spooled -= len(part)
                yield part, False
        while not self.complete:
            yield await self._read(), True

    def go(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110, section 10.1.1)."""
        if self._expects_go and not self.complete:
            self._expects_go = False
            self._incoming.client.send(_CONTINUE)

    def check(self, now: Nanoseconds) -> None:
        """Give a stalled client up."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._payload.set_exception(BodyTimeout())

    def close(self) -> None:
        """Let go of what is kept."""
        self._watchdog.discard(self)
        self._parts = []
        if self._spool:
            self._spool.close()

    async def _read(self) -> bytes:
        if self._payload.is_eof():  # The usual small body came with its head: no deadline, no waiting.
            self.complete = True
            return self._payload.read_nowait()
        self.go()
        self._watchdog.add(self)
        self._deadline = Nanoseconds(self._clock() + self._patience)
        try:
            part = await self._payload.readany()
        finally:
            self._deadline = None
        self.complete = self._payload.at_eof()
        if self.complete:
            self._watchdog.discard(self)
        return part
