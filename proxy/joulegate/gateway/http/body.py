"""The body of a request on its way from the client: in memory while small, else passed on as it comes."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable
from typing import IO, Protocol

from msgspec import Struct

from joulegate.gateway.http.framing import Chunks
from joulegate.gateway.http.heads import RequestHead
from joulegate.gateway.http.timers import Watchdog
from joulegate.units import Nanoseconds

SMALL = 64 * 1024
"""A body of at most this size may be held whole."""
READ_BUFFER = 64 * 1024
"""With more than this that nobody has read yet, no more is taken from the client."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyTimeout(Exception):
    """The client did not send the rest of its body in time."""


class BodySource(Protocol):
    """The client's connection, as its body needs it."""

    def send(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def hold(self) -> None:
        """Read no more for now."""
        ...

    def release(self) -> None:
        """Read on."""
        ...


class BodyTerms(Struct, frozen=True):
    """How long the bodies of a gate's requests are waited for."""

    patience: Nanoseconds
    clock: Callable[[], Nanoseconds]
    watchdog: Watchdog


class RequestBody:
    """Takes in one request body and gives it to one reader; a client that stalls makes that one fail."""

    __slots__ = (
        "_chunks", "_deadline", "_expects_go", "_failure", "_left", "_parts", "_passed", "_size", "_source",
        "_spool", "_spooled", "_terms", "_then", "_unread", "_waiter", "ended", "unread",
    )  # fmt: skip

    def __init__(self, source: BodySource, head: RequestHead, terms: BodyTerms) -> None:
        self._source = source
        self._terms = terms
        self._chunks = Chunks() if head.chunked else None
        self._left = head.length or 0
        self._expects_go = head.expects_go
        self._deadline: Nanoseconds | None = None
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._then: Callable[[], None] | None = None
        self._unread: list[bytes] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._passed = False
        self._spool: IO[bytes] | None = None
        self._spooled = 0
        self.unread = 0
        """Bytes that have come and that nobody has read."""
        self.ended = False
        """All of it has come."""

    # --- from the client -----------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Accept what came; return what is behind the end of this body; ``tell`` follows.

        Raises ``MalformedBody``.
        """
        if self._chunks:
            content, rest = self._chunks.feed(data), self._chunks.rest
            self.ended = self._chunks.ended
        else:
            content, rest = data[: self._left], data[self._left :]
            self._left -= len(content)
            self.ended = not self._left
        if content:
            self._unread.append(content)
            self.unread += len(content)
            if self.unread > READ_BUFFER and not self.ended:
                self._source.hold()
        return rest

    def tell(self) -> None:
        """Let whoever waits know that something came, or that nothing will."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._then is None:
            return
        if self.ended or self._failure is not None:
            then, self._then, self._deadline = self._then, None, None
            then()
        else:
            self._wait()

    def fail(self, failure: Exception) -> None:
        """Notify that the rest will not come."""
        if self._failure is None and not self.ended:
            self._failure = failure
            self.tell()

    def check(self, now: Nanoseconds) -> None:
        """Return a stalled client up."""
        if self._deadline is not None and now >= self._deadline:
            self.fail(BodyTimeout())

    # --- to the reader ---------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """All of it has been read."""
        return self.ended and not self._unread

    @property
    def failure(self) -> Exception | None:
        """Why the rest will not come."""
        return self._failure

    @property
    def beginning(self) -> bytes:
        """What has been read and is in memory."""
        return b"".join(self._parts)

    @property
    def small(self) -> bytes | None:
        """The whole body, if it has been read and is in memory: then it can be sent again."""
        return b"".join(self._parts) if self.complete and not self._spool and not self._passed else None

    def whole(self) -> bytes:
        """Accept all that has come."""
        unread, self._unread, self.unread = self._unread, [], 0
        return unread[0] if len(unread) == 1 else b"".join(unread)

    def collect(self, then: Callable[[], None]) -> None:
        """Call ``then`` when all of it has come or will not come."""
        self._then = then
        if self.ended or self._failure:
            self.tell()
        else:
            self._wait()

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
        """Return all of it in order, and with each part whether it is new: it has not been ``heard``."""
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
        if self._expects_go and not self.ended:
            self._expects_go = False
            self._source.send(_CONTINUE)

    def close(self) -> None:
        """Let go of what is kept."""
        self._terms.watchdog.discard(self)
        self._parts, self._unread, self._then = [], [], None
        if self._spool:
            self._spool.close()

    # --- inside ----------------------------------------------------------------------------------------

    async def _read(self) -> bytes:
        """Return what has come, ``b""`` at the end. Raises why the rest will not come."""
        if not self._unread and not self.ended and self._failure is None:
            self.go()
            self._waiter = asyncio.get_running_loop().create_future()
            self._wait()
            try:
                await self._waiter
            finally:
                self._waiter = self._deadline = None
        if self._failure is not None:
            raise self._failure
        part = self.whole()
        if not self.ended:
            self._source.release()
        return part

    def _wait(self) -> None:
        self._terms.watchdog.add(self)
        self._deadline = Nanoseconds(self._terms.clock() + self._terms.patience)
