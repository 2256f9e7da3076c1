"""The clients' side of the transport: aiohttp's low-level server, without its request and response objects.

The only file that knows the inside of aiohttp's server: its parser, its queue of pipelined requests and
its keep-alive stay; what goes to the client is written by ``joulegate.gateway.answer``.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from joulegate.gateway.headers import index
from joulegate.gateway.responses import Refusal, response
from joulegate.gateway.sockets import reset
from joulegate.gateway.upstream import LARGEST_FIELD, LARGEST_HEAD, MOST_FIELDS, Clock
from joulegate.units import Nanoseconds

READ_BUFFER = 32 * 1024
"""aiohttp stops reading at twice this much of a request body."""
_COPIED = 16 * 1024
"""Up to this size one copy is cheaper than a vector of pieces."""
_QUOTE = re.compile(r"[:'\"\n]")
"""Where a parser's message begins to repeat what it was given."""
_KEEP_ALIVE = 75.0
"""Seconds that an idle client connection stays open, as nginx's ``keepalive_timeout``."""
_LINGER = 2.0
"""Seconds in which the rest of an unwanted body is read away, so that the answer is not lost to a reset."""


class BodyTimeout(Exception):
    """The client did not send the rest of its body in time."""


class BodyMalformed(Exception):
    """The framing of the client's body is broken."""


class ClientExchange(Protocol):
    """What a client connection tells the exchange that it carries."""

    def client_full(self, full: bool) -> None:  # noqa: FBT001, RUF100 (a state, not a flag)
        """Learn that the client reads more slowly than the upstream sends, or that there is room again."""
        ...

    def client_left(self) -> None:
        """Learn that the client is gone."""
        ...


class Reply:
    """Tells aiohttp that the answer is written, and whether the connection goes on."""

    __slots__ = ("keep_alive",)

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, _: object) -> None:
        """Do nothing: the head is written."""

    async def write_eof(self) -> None:
        """Do nothing: the body is written."""


class Incoming:
    """One request as aiohttp's connection hands it over."""

    __slots__ = ("_task", "client", "fields", "message", "payload", "writer")

    def __init__(
        self, message: RawRequestMessage, payload: StreamReader, client: "ClientConnection", writer: object
    ) -> None:
        self._task: object = None
        self.message = message
        self.fields = index(message.raw_headers)
        """First value of each header field by its name in lower case."""
        self.payload = payload
        self.client = client
        self.writer = writer

    def _finish(self) -> None:
        """Do nothing; aiohttp calls it when the answer is written."""

    def _cancel(self, error: BaseException) -> None:
        self.payload.set_exception(error)


Handler = Callable[[Incoming], Awaitable[Reply]]


class ClientConnection(RequestHandler):
    """One client connection."""

    __slots__ = ("_clock", "_head_bytes", "_head_since", "_malformed", "exchange")

    def __init__(
        self, manager: Server, *, clock: Clock, malformed: Callable[[str], None], **settings: Any
    ) -> None:
        super().__init__(manager, **settings)
        self._clock = clock
        self._malformed = malformed
        self._head_since: Nanoseconds | None = None
        self._head_bytes = 0
        self.exchange: ClientExchange | None = None

    # --- writing -------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes; nothing happens once the client is gone."""
        if self.transport and not self.transport.is_closing():
            self.transport.write(data)

    def send_all(self, pieces: list[bytes]) -> None:
        """Send bytes in pieces, with one system call."""
        if self.transport and not self.transport.is_closing():
            if sum(map(len, pieces)) <= _COPIED:
                self.transport.write(b"".join(pieces))
            else:
                self.transport.writelines(pieces)

    def end(self) -> None:
        """Close after what is written: a message that is framed and not whole is seen to be cut."""
        if self.transport:
            self.transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        if self.transport:
            reset(self.transport)

    def take_over(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport away after an upgrade, and what of the new protocol has been read already."""
        if self.transport is None:
            raise ConnectionResetError("the client is gone")
        rest = _Rest()
        self.set_parser(cast(Any, rest))
        return self.transport, bytes(rest.data)

    # --- deadlines -----------------------------------------------------------------------------------

    def check_head(self, now: Nanoseconds, patience: Nanoseconds) -> None:
        """Refuse a client that takes too long over the head of its request."""
        if self._head_since is not None and now - self._head_since >= patience:
            self._give_up(Refusal(408, "head_timeout", "the head of the request did not arrive in time"))

    # --- asyncio -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and note a head or a body that does not come to its end."""
        super().data_received(data)
        if self._request_in_progress:
            self._head_since = None
            self._break_body()
        elif data:
            self._note_head(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the exchange at once; aiohttp cancels the handler in the next turn of the loop."""
        exchange, self.exchange = self.exchange, None
        self._head_since = None
        if exchange:
            exchange.client_left()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Hold the upstream back."""
        super().pause_writing()
        if self.exchange:
            self.exchange.client_full(True)

    def resume_writing(self) -> None:
        """Let the upstream go on."""
        super().resume_writing()
        if self.exchange:
            self.exchange.client_full(False)

    def handle_error(
        self,
        request: Any,  # noqa: ARG002 (aiohttp's signature)
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 (aiohttp's signature)
        message: str | None = None,
    ) -> Any:
        """Answer what is no HTTP, without repeating its bytes."""
        what = _QUOTE.split(message or "", maxsplit=1)[0][:200]
        self._malformed("malformed")
        refusal = Refusal(status, "malformed_request", f"the request is not valid HTTP: {what}")
        self.send(response(refusal, "plain", method="GET", close=True))
        return Reply(keep_alive=False)

    # --- inside ----------------------------------------------------------------------------------------

    def _note_head(self, data: bytes) -> None:
        waiter = self._waiter
        if self._messages or waiter is None or waiter.done() or self._force_close:
            self._head_since = None
            return
        if self._head_since is None:
            self._head_since, self._head_bytes = self._clock(), 0
        self._head_bytes += len(data)
        if self._head_bytes > LARGEST_HEAD:
            self._give_up(Refusal(431, "head_too_large", f"the head is larger than {LARGEST_HEAD} bytes"))

    def _give_up(self, refusal: Refusal) -> None:
        self._head_since = None
        self._malformed(refusal.code)
        self.send(response(refusal, "plain", method="GET", close=True))
        self.force_close()

    def _break_body(self) -> None:
        """Tell the reader of a body that its framing is broken; aiohttp only queues an error behind it."""
        request = cast("Incoming | None", self._current_request)
        if request is None or not self._messages or request.payload.is_eof():
            return
        if request.payload.exception() is None and not isinstance(self._messages[-1][0], RawRequestMessage):
            request.payload.set_exception(BodyMalformed())


class ClientServer(Server):
    """aiohttp's low-level server with connections of ours."""

    def __init__(self, handler: Handler, *, clock: Clock, malformed: Callable[[str], None]) -> None:
        super().__init__(cast(Any, handler), request_factory=cast(Any, _incoming), handler_cancellation=True)
        self._own: dict[str, Any] = {
            "clock": clock,
            "malformed": malformed,
            "access_log": None,
            "logger": _quiet(),
            "auto_decompress": False,
            "keepalive_timeout": _KEEP_ALIVE,
            "lingering_time": _LINGER,
            "read_bufsize": READ_BUFFER,
            "max_line_size": LARGEST_FIELD,
            "max_field_size": LARGEST_FIELD,
            "max_headers": MOST_FIELDS,
        }

    def __call__(self) -> ClientConnection:
        """Give the protocol of a new connection."""
        return ClientConnection(self, loop=self._loop, **self._own)

    def clients(self) -> list[ClientConnection]:
        """Give all open connections."""
        return cast(list[ClientConnection], self.connections)


class _Rest:
    """Takes what aiohttp has read after an upgrade's head."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def _incoming(
    message: RawRequestMessage, payload: StreamReader, client: ClientConnection, writer: object, _: object
) -> Incoming:
    return Incoming(message, payload, client, writer)


def _quiet() -> logging.Logger:
    """Give a logger that says nothing: the gate logs changes of state, never one client's mistakes."""
    quiet = logging.Logger("joulegate.gateway.aiohttp")
    quiet.addHandler(logging.NullHandler())
    return quiet
