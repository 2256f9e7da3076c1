"""Connections to the upstreams: one protocol on a raw transport, aiohttp's C parser for the answers."""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpResponseParser, RawResponseMessage
from aiohttp.streams import StreamReader

from joulegate.model import Outcome
from joulegate.units import Nanoseconds

LARGEST_FIELD = 64 * 1024
LARGEST_HEAD = 192 * 1024
MOST_FIELDS = 256
_BUFFER = 64 * 1024

Clock = Callable[[], Nanoseconds]


class Consumer(Protocol):
    """Who gets an answer. Called synchronously, in the order of the bytes."""

    def answer_interim(self, message: RawResponseMessage) -> None:
        """Take a 1xx head other than 101."""
        ...

    def answer_head(self, t: Nanoseconds, message: RawResponseMessage) -> None:
        """Take the head of the answer."""
        ...

    def answer_upgraded(self, t: Nanoseconds, message: RawResponseMessage, rest: bytes) -> None:
        """Take the head of a 101 and the first bytes of the new protocol; the transport is the caller's."""
        ...

    def answer_body(self, t: Nanoseconds, chunk: bytes) -> None:
        """Take a part of the body."""
        ...

    def answer_end(self, t: Nanoseconds) -> None:
        """Learn that the answer is whole."""
        ...

    def answer_pauses(self) -> None:
        """Learn that this is all that arrived at once."""
        ...

    def answer_failed(self, _: Nanoseconds, outcome: Outcome, detail: str) -> None:
        """Learn that no more will come, before the answer is whole."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """One connection, for one exchange at a time."""

    def __init__(self, clock: Clock, release: Callable[["UpstreamConnection"], None]) -> None:
        self._clock = clock
        self._release = release
        self._transport: asyncio.Transport | None = None
        self._consumer: Consumer | None = None
        self._parser: HttpResponseParser | None = None
        self._parser_for_head = False
        self._payload: StreamReader | None = None
        self._head_bytes = 0
        self._keep_alive = False
        self._sent = False
        self._paused = False
        self._room: asyncio.Future[None] | None = None
        self.answered = False
        """At least one byte came back since the last request."""
        self.idle_since = Nanoseconds(0)
        self.connected = False
        """Also what aiohttp's stream reader asks."""

    # --- sending -------------------------------------------------------------------------------------

    def begin(self, consumer: Consumer, head: bytes, *, answer_is_head: bool) -> None:
        """Send the head of a request, with as much of its body as is known; ``answer_is_head`` for HEAD."""
        if self._parser is None or answer_is_head or self._parser_for_head:
            self._parser = self._new_parser(answer_is_head)
            self._parser_for_head = answer_is_head
        self._consumer = consumer
        self._payload = None
        self._head_bytes = 0
        self._sent = False
        self.answered = False
        self.write(head)

    def write(self, data: bytes) -> None:
        """Send more."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def write_all(self, pieces: list[bytes]) -> None:
        """Send more, in pieces."""
        if self._transport and not self._transport.is_closing():
            self._transport.writelines(pieces)

    def finish_request(self) -> None:
        """Note that the request is sent whole; only then may the connection be used again."""
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
        self._consumer = None
        self._payload = None
        if self._transport:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport:
            self._transport.close()

    def detach(self) -> asyncio.Transport:
        """Give the transport away."""
        if self._transport is None:
            raise ConnectionResetError("the upstream connection is gone")
        transport, self._transport, self._consumer = self._transport, None, None
        return transport

    # --- asyncio -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self.connected = True

    def data_received(self, data: bytes) -> None:
        """Hand on what arrived."""
        if self._consumer is None or self._parser is None:
            self.abort()  # Bytes that nobody asked for: an answer to no request.
            return
        now = self._clock()
        self.answered = True
        if self._payload is None:
            self._head_bytes += len(data)
        try:
            messages, upgraded, rest = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self._deliver(now)
            self._fail(now, Outcome.UPSTREAM_PROTOCOL_ERROR, _reason(error))
            return
        for message, payload in messages:
            self._message(now, message, payload, rest if upgraded else None)
        if self._payload is None and self._head_bytes > LARGEST_HEAD:
            self._fail(now, Outcome.UPSTREAM_PROTOCOL_ERROR, "the head is too large")
        self._deliver(now)

    def eof_received(self) -> None:
        """Learn that the upstream sends no more: the end of a body that nothing else ends."""
        if self._payload is None or self._parser is None:
            return
        try:
            self._parser.feed_eof()
        except HttpProcessingError:
            return  # Cut: ``connection_lost`` follows and says so.
        self._keep_alive = False
        self._deliver(self._clock())

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self.connected = False
        self._transport = None
        outcome = Outcome.UPSTREAM_TRUNCATED if self._payload is not None else Outcome.UPSTREAM_RESET
        self._fail(self._clock(), outcome, "connection reset" if error else "connection closed")
        self.resume_writing()

    def pause_writing(self) -> None:
        """Learn that the upstream reads more slowly than the client sends."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Learn that there is room again."""
        room, self._room = self._room, None
        if room and not room.done():
            room.set_result(None)

    # --- what aiohttp's stream reader calls ------------------------------------------------------------

    def pause_reading(self) -> None:
        """Do nothing: every chunk is taken out at once, back-pressure is the exchange's."""

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002, RUF100 (aiohttp's)
        """Do nothing: see ``pause_reading``."""

    # --- inside ----------------------------------------------------------------------------------------

    def _new_parser(self, answer_is_head: bool) -> HttpResponseParser:
        return HttpResponseParser(
            self,  # type: ignore[arg-type]  # offers what the parser's stream readers use of a protocol
            asyncio.get_running_loop(),
            _BUFFER,
            max_line_size=LARGEST_FIELD,
            max_field_size=LARGEST_FIELD,
            max_headers=MOST_FIELDS,
            response_with_body=not answer_is_head,
            read_until_eof=True,
            auto_decompress=False,
        )

    def _message(
        self, now: Nanoseconds, message: RawResponseMessage, payload: StreamReader, rest: bytes | None
    ) -> None:
        consumer = self._consumer
        if consumer is None or self._payload is not None:
            self._keep_alive = False  # A second answer to one request: the connection cannot be trusted.
            return
        if message.code == 101:
            self._upgrade(now, message, rest)
        elif message.code < 200:
            self._head_bytes = 0
            consumer.answer_interim(message)
        else:
            self._payload = payload
            self._keep_alive = not message.should_close
            consumer.answer_head(now, message)

    def _upgrade(self, now: Nanoseconds, message: RawResponseMessage, rest: bytes | None) -> None:
        if rest is None or self._consumer is None:
            self._fail(now, Outcome.UPSTREAM_PROTOCOL_ERROR, "101 for a protocol that nobody asked for")
            return
        self._consumer.answer_upgraded(now, message, rest)

    def _deliver(self, now: Nanoseconds) -> None:
        payload, consumer = self._payload, self._consumer
        if payload is None or consumer is None:
            return
        chunk = payload.read_nowait()
        if chunk:
            consumer.answer_body(now, chunk)
        if self._consumer is not consumer:
            return
        if payload.is_eof():
            self._finish(now, consumer)
        else:
            consumer.answer_pauses()

    def _finish(self, now: Nanoseconds, consumer: Consumer) -> None:
        reusable = self._keep_alive and self._sent and self.usable
        self._consumer = None
        self._payload = None
        self.resume()
        consumer.answer_end(now)
        if reusable:
            self.idle_since = now
            self._release(self)
        elif self._transport:
            # A request that is not sent whole: no more of it is wanted.
            self._transport.close() if self._sent else self._transport.abort()

    def _fail(self, now: Nanoseconds, outcome: Outcome, detail: str) -> None:
        consumer = self._consumer
        self.abort()
        if consumer:
            consumer.answer_failed(now, outcome, detail)


def _reason(error: HttpProcessingError) -> str:
    """Give what is wrong in at most 200 printable characters, without the bytes around it."""
    return "".join(c for c in error.message.partition("\n")[0].rstrip(":")[:200] if c.isprintable())
