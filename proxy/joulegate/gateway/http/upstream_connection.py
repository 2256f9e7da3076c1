"""Connections to the upstreams: one protocol on a raw transport, answers read by the grammar of ``heads``."""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from joulegate.gateway.http.framing import Chunks, MalformedBody
from joulegate.gateway.http.heads import LARGEST_HEAD, HeadCache, MalformedHead, ResponseHead, broken
from joulegate.gateway.http.sockets import keep_alive
from joulegate.model import Outcome
from joulegate.units import Nanoseconds

Clock = Callable[[], Nanoseconds]

_END = b"\r\n\r\n"
INTERIM = 8
"""Interim answers to one request that are passed on (RFC 9110, section 15.2, sets no bound)."""


class BodySink(Protocol):
    """Who gets the body of an answer."""

    def answer_body(self, t: Nanoseconds, content: bytes, wire: bytes | None) -> None:
        """Accept a part of the body; ``wire`` is the same as whole chunks, if it came as that."""
        ...


class ResponseSink(Protocol):
    """Who gets an answer. Called synchronously, in the order of the bytes."""

    def answer_interim(self, head: ResponseHead) -> None:
        """Accept a 1xx head other than 101."""
        ...

    def answer_head(self, t: Nanoseconds, head: ResponseHead) -> BodySink:
        """Accept the head of the answer; return who gets the body."""
        ...

    def answer_upgraded(self, t: Nanoseconds, head: ResponseHead, rest: bytes) -> None:
        """Accept the head of a 101 and the first bytes of the new protocol; the transport is the caller's."""
        ...

    def answer_end(self, t: Nanoseconds) -> None:
        """Notify that the answer is whole."""
        ...

    def answer_pauses(self) -> None:
        """Notify that no content came with what was told last: nothing is to be waited for."""
        ...

    def answer_failed(self, t: Nanoseconds, outcome: Outcome, detail: str) -> None:
        """Notify that no more will come, before the answer is whole."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """One connection, for one exchange at a time."""

    __slots__ = (
        "_begun",
        "_body_sink",
        "_chunks",
        "_clock",
        "_head",
        "_interim",
        "_keep_alive",
        "_known",
        "_left",
        "_method",
        "_paused",
        "_release",
        "_room",
        "_sent",
        "_sink",
        "_transport",
        "answered",
        "born",
        "connected",
        "idle_since",
        "round_trip",
    )  # fmt: skip

    def __init__(
        self, clock: Clock, known: HeadCache[ResponseHead], release: Callable[["UpstreamConnection"], None]
    ) -> None:
        self._clock = clock
        self._known = known
        self._release = release
        self._transport: asyncio.Transport | None = None
        self._sink: ResponseSink | None = None
        self._body_sink: BodySink | None = None
        self._method = ""
        self._begun: bytearray | None = None
        """What has come of a head."""
        self._head = False
        """The head of the answer has been read."""
        self._left: int | None = 0
        """Bytes of the body that are still to come; ``None``: until the end of the connection."""
        self._chunks: Chunks | None = None
        self._keep_alive = False
        self._sent = False
        self._paused = False
        self._room: asyncio.Future[None] | None = None
        self.answered = False
        """At least one byte came back since the last request."""
        self.idle_since = Nanoseconds(0)
        self.connected = False
        self._interim = 0
        """Heads of 1xx since the last request."""
        self.born = Nanoseconds(0)
        """When the connection was opened."""
        self.round_trip = Nanoseconds(0)
        """How long it took to connect, which is at least one round trip."""

    # --- sending -------------------------------------------------------------------------------------

    def begin(self, sink: ResponseSink, method: str, data: bytes, *, whole: bool = False) -> None:
        """Send the head of a request, with as much of its body as is known; ``whole``: that is all of it."""
        self._sink = sink
        self._method = method
        self._head = False
        self._sent = whole
        self._interim = 0
        self.answered = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def write(self, data: bytes) -> None:
        """Send more."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def write_all(self, pieces: list[bytes]) -> None:
        """Send more, in pieces."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(pieces)

    def finish_request(self) -> None:
        """Record that the request is sent whole; only then may the connection be used again."""
        self._sent = True

    @property
    def full(self) -> bool:
        """More than the buffer's worth waits for the upstream to read."""
        return self._room is not None

    async def drain(self) -> None:
        """Wait until there is room to send."""
        if self._room:
            await asyncio.shield(self._room)

    # --- control -------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Nothing speaks against another request."""
        return self.connected and self._transport is not None and not self._transport.is_closing()

    def pause(self) -> None:
        """Read no more for now."""
        if self._transport and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport and self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection now; nobody is told."""
        self._sink = self._body_sink = None
        if self._transport:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport:
            self._transport.close()

    def detach(self) -> asyncio.Transport:
        """Return the transport, which is the caller's from now on. Raises ``ConnectionResetError``."""
        if self._transport is None:
            raise ConnectionResetError("the upstream connection is gone")
        transport, self._transport, self._sink = self._transport, None, None
        return transport

    # --- asyncio -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self.connected = True
        self.born = self._clock()
        keep_alive(transport, sends=True)

    def data_received(self, data: bytes) -> None:
        """Hand on what arrived."""
        if self._sink is None:
            self.abort()  # Bytes that nobody asked for: an answer to no request.
            return
        now = self._clock()
        self.answered = True
        if self._chunks is not None and (content := self._chunks.alone(data)) and self._body_sink is not None:
            self._body_sink.answer_body(now, content, data)
            return
        try:
            if self._head:
                self._body(now, data)
            else:
                self._heads(now, data)
        except (MalformedHead, MalformedBody) as problem:
            self._fail(now, Outcome.UPSTREAM_PROTOCOL_ERROR, str(problem))

    def eof_received(self) -> None:
        """Notify that the upstream sends no more: the end of a body that nothing else ends."""
        if self._head and self._left is None and self._sink is not None:
            self._finish(self._clock(), self._sink)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self.connected = False
        self._transport = None
        outcome = Outcome.UPSTREAM_TRUNCATED if self._head else Outcome.UPSTREAM_RESET
        self._fail(self._clock(), outcome, "connection reset" if error else "connection closed")
        self.resume_writing()

    def pause_writing(self) -> None:
        """Notify that the upstream reads more slowly than the client sends."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Notify that there is room again."""
        room, self._room = self._room, None
        if room and not room.done():
            room.set_result(None)

    # --- inside ----------------------------------------------------------------------------------------

    def _heads(self, now: Nanoseconds, data: bytes) -> None:
        """Read heads until that of the answer, and what is behind it."""
        begun = self._begun
        if begun is not None:
            start = len(begun)
            begun += data
            if begun.find(_END, max(0, start - 3)) < 0:
                self._wait(begun, start)
                return
            data, self._begun = bytes(begun), None
        while (end := data.find(_END)) >= 0:
            head = self._known.heads.get(data[:end]) or self._known.head(data[:end])
            data = data[end + 4 :]
            if head.status >= 200:
                self._answer(now, head, data)
                return
            if head.status == 101:
                self._upgrade(now, head, data)
                return
            self._interim += 1
            if self._interim > INTERIM:
                raise MalformedHead(f"more than {INTERIM} interim answers")
            if self._sink is not None:
                self._sink.answer_interim(head)
        self._wait(bytearray(data), 0)

    def _wait(self, begun: bytearray, start: int) -> None:
        """Keep what has come of a head; all before ``start`` has been looked at."""
        if len(begun) > LARGEST_HEAD:
            raise MalformedHead("the head is too large")
        if broken(begun, start):
            raise MalformedHead("the answer begins with no head")
        self._begun = begun

    def _answer(self, now: Nanoseconds, head: ResponseHead, data: bytes) -> None:
        sink = self._sink
        if sink is None:
            return
        self._head = True
        self._keep_alive = head.keep_alive
        self._chunks = None
        if head.bodiless or self._method == "HEAD":
            self._left = 0
        elif head.chunked:
            self._left, self._chunks = 0, Chunks()
        else:
            self._left = head.length
        self._body_sink = sink.answer_head(now, head)
        if self._sink is sink:
            self._body(now, data)

    def _upgrade(self, now: Nanoseconds, head: ResponseHead, rest: bytes) -> None:
        if not head.switches or self._sink is None:
            self._fail(now, Outcome.UPSTREAM_PROTOCOL_ERROR, "101 for a protocol that nobody asked for")
            return
        self._sink.answer_upgraded(now, head, rest)

    def _body(self, now: Nanoseconds, data: bytes) -> None:
        sink, body_sink, chunks = self._sink, self._body_sink, self._chunks
        if sink is None or body_sink is None:
            return
        if chunks is not None:
            content = chunks.feed(data) if data else b""
            ended = chunks.ended
            wire = data if chunks.plain and not ended else None
            if chunks.rest:
                self._keep_alive = False
        elif (left := self._left) is None:
            content, ended, wire = data, False, None
        else:
            if len(data) > left:
                self._keep_alive = False  # A second answer to one request: the connection cannot be trusted.
                data = data[:left]
            self._left = left = left - len(data)
            content, ended, wire = data, not left, None
        if content:
            body_sink.answer_body(now, content, wire)
            if self._sink is not sink:
                return
        if ended:
            self._finish(now, sink)
        elif not content:
            sink.answer_pauses()  # Content leaves at once, and with it a head that waited for it.

    def _finish(self, now: Nanoseconds, sink: ResponseSink) -> None:
        transport = self._transport
        reusable = self._keep_alive and self._sent and self._left is not None
        reusable = reusable and transport is not None and not transport.is_closing()
        self._sink = self._body_sink = self._chunks = None
        if self._paused:
            self.resume()
        sink.answer_end(now)
        if reusable:
            self.idle_since = now
            self._release(self)
        elif self._transport:
            # A request that is not sent whole: no more of it is wanted.
            self._transport.close() if self._sent else self._transport.abort()

    def _fail(self, now: Nanoseconds, outcome: Outcome, detail: str) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.answer_failed(now, outcome, detail)
