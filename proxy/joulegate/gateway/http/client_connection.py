"""All client connections of a gate: one request at a time off each, in the order they came.

``heads`` parses a request, the handler decides what becomes of it, and the answer is written by the exchange.
The usual request, small and whole in one read, makes no task, no future and no timer.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

from joulegate.gateway.http.body import SMALL, BodyTerms, RequestBody
from joulegate.gateway.http.framing import MalformedBody
from joulegate.gateway.http.heads import (
    LARGEST_HEAD,
    HeadCache,
    MalformedHead,
    RequestHead,
    broken,
    request_head,
)
from joulegate.gateway.http.refusals import Refusal, response
from joulegate.gateway.http.sockets import keep_alive, reset
from joulegate.gateway.http.timers import Hangups
from joulegate.units import NANO, Nanoseconds

_COPIED = 16 * 1024
"""Up to this size one copy is cheaper than a vector of pieces."""
CLOSE_WITHIN = Nanoseconds(75 * NANO)
"""How long a client may take to read the last that is written to it."""
_HALF_CLOSE = Nanoseconds(NANO // 200)
"""A client that ends its half so soon after its request waits for the answer; later it has left."""
_LINGER = Nanoseconds(2 * NANO)
"""Time in which the rest of what a client sends is read away, so that the answer is not lost to a reset."""
_AHEAD = 64 * 1024
"""Bytes of later requests that are taken in while one is under way."""
_END = b"\r\n\r\n"
_CR = 0x0D

READY, BUSY, LINGERING, CLOSING, OVER = range(5)
"""Waits for a request; carries one; has said all and hears the rest out; closes; gone or given away."""


_SWEEP = Nanoseconds(5 * NANO)
"""Time between two looks for connections that have been idle for too long."""


class ClientExchange(Protocol):
    """What a client connection tells the exchange that it carries."""

    @property
    def answering(self) -> bool:
        """The client has been sent a part of the answer."""
        ...

    def client_full(self, full: bool) -> None:  # noqa: FBT001, RUF100 (a state, not a flag)
        """Notify that the client reads more slowly than the upstream sends, or that there is room again."""
        ...

    def client_left(self) -> None:
        """Notify that the client is gone."""
        ...


class ClientConnection(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_ahead", "_asked", "_begun", "_body", "_exchange", "_half_closed", "_held", "_server", "_watched",
        "since", "state", "transport", "writing_paused",
    )  # fmt: skip

    def __init__(self, server: "ClientServer") -> None:
        self._server = server
        self._begun: bytearray | None = None
        """What has come of the next head."""
        self._body: RequestBody | None = None
        """The body that has not ended yet."""
        self._ahead = b""
        """What came behind the request under way."""
        self._half_closed = False
        """The client sends no more and waits for its answer."""
        self._asked = Nanoseconds(0)
        """When the head of the request under way was here."""
        self._held = False
        self._watched = -1
        self.state = READY
        self.since = Nanoseconds(0)
        """When it became idle, began a head or began to close."""
        self.transport: asyncio.Transport | None = None
        self._exchange: ClientExchange | None = None
        self.writing_paused = False

    # --- the exchange --------------------------------------------------------------------------------

    def carry(self, exchange: ClientExchange) -> None:
        """Tell this exchange, until its answer is written, how the client is."""
        self._exchange = exchange

    # --- writing -------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes; nothing happens once the client is gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def send_all(self, pieces: list[bytes]) -> None:
        """Send bytes in pieces, with one system call."""
        if self.transport is not None and not self.transport.is_closing():
            if sum(map(len, pieces)) <= _COPIED:
                self.transport.write(b"".join(pieces))
            else:
                self.transport.writelines(pieces)

    def answered(self, *, keep_alive: bool) -> None:
        """Notify that the answer is written: go on to the next request, or end."""
        self._exchange = None
        if self.state is not BUSY:
            return
        if self._half_closed:
            self.end()
            return
        if not keep_alive or self._body is not None:
            self._linger() if self._body is not None or self._ahead else self.end()
            return
        self.state = READY
        self.since = self._server.clock()
        if self._ahead:
            self._server.loop.call_soon(self._go_on)

    def end(self) -> None:
        """Close after what is written: a message that is framed and not whole is seen to be cut."""
        if self.transport is not None and self.state is not OVER:
            self.state = CLOSING
            self._wait()
            self.transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            reset(self.transport)

    def take_over(self) -> tuple[asyncio.Transport, bytes]:
        """Return the transport after an upgrade, and what of the new protocol has been read already."""
        if self.transport is None:
            raise ConnectionResetError("the client is gone")
        self.release()
        rest, self._ahead = self._ahead, b""
        self.state = OVER
        return self.transport, rest

    # --- reading ---------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Read no more for now; that the client leaves shows all the same."""
        if self.transport is not None and not self._held and not self.transport.is_closing():
            self._held = True
            self.transport.pause_reading()
            self._watched = self._server.hangups.watch(self.transport, self.abort)

    def release(self) -> None:
        """Read on."""
        if self._held and self.transport is not None:
            self._held = False
            self._server.hangups.forget(self._watched)
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def check(self, now: Nanoseconds) -> None:
        """Do what is due for a client that is waited for."""
        waited = now - self.since
        if (self.state is LINGERING and waited >= _LINGER) or (
            self.state is CLOSING and waited >= CLOSE_WITHIN
        ):
            self.abort()
        elif self.state is READY and waited >= self._server.head_patience:
            self._give_up(Refusal(408, "head_timeout", "the head of the request did not arrive in time"))

    # --- asyncio -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self.since = self._server.clock()
        self._server.clients.add(self)
        keep_alive(transport)

    def data_received(self, data: bytes) -> None:
        """Accept what arrived: of a body, of the next request, or of one further on."""
        if self._body is not None:
            self._feed(data)
        elif self.state is BUSY or (self.state is READY and self._ahead):
            self._keep(data)
        elif self.state is READY:
            end = data.find(_END) if self._begun is None else -1
            if end > 0 and data[0] != _CR:
                self._arrive(data, end)
            else:
                self._gather(data)

    def eof_received(self) -> bool:
        """Notify that the client sends no more; return whether its answer still goes to it.

        A client that shuts its half down right behind its request waits for the answer, as ``nc -N`` and
        some libraries do; one that does so later has closed, and is not told apart from it by TCP.
        """
        tls = self.transport is not None and self.transport.get_extra_info("sslcontext") is not None
        answering = self._exchange is not None and self._exchange.answering
        if self.state is not BUSY or self._body is not None or tls or answering:
            return False
        self._half_closed = self._server.clock() - self._asked < _HALF_CLOSE
        return self._half_closed

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002, RUF100 (asyncio's signature)
        """Tell at once whoever waits for this client or writes to it."""
        self._server.hangups.forget(self._watched)
        self._server.forget(self)
        self.transport = None
        self.state = OVER
        self._begun, self._ahead = None, b""
        exchange, self._exchange = self._exchange, None
        body, self._body = self._body, None
        if exchange is not None:
            exchange.client_left()
        if body is not None:
            body.fail(ConnectionResetError("the client is gone"))

    def pause_writing(self) -> None:
        """Hold the upstream back."""
        self.writing_paused = True
        if self._exchange is not None:
            self._exchange.client_full(True)

    def resume_writing(self) -> None:
        """Let the upstream go on."""
        self.writing_paused = False
        if self._exchange is not None:
            self._exchange.client_full(False)

    # --- inside ----------------------------------------------------------------------------------------

    def _gather(self, data: bytes) -> None:
        """Accept a part of a head, which may begin with one empty line (RFC 9112, section 2.2)."""
        begun = self._begun
        if begun is None:
            begun = self._begun = bytearray()
            self._wait()
        start = len(begun)
        begun += data
        end = begun.find(_END, max(0, start - 3))
        if begun == b"\r\n" or end >= 0:
            self._begun = None
            self._server.waiting.discard(self)
        if end >= 0:
            skipped = 2 if end and begun.startswith(b"\r\n") else 0
            self._arrive(bytes(begun[skipped:]), end - skipped)
        elif len(begun) > LARGEST_HEAD:
            self._give_up(Refusal(431, "head_too_large", f"the head is larger than {LARGEST_HEAD} bytes"))
        elif broken(begun, start):
            self._give_up(_malformed("the beginning of the request is that of no head"))

    def _arrive(self, data: bytes, end: int) -> None:
        """Hand a request over whose head is here."""
        server = self._server
        try:
            head = server.known.heads.get(data[:end]) or server.known.head(data[:end])
        except MalformedHead as problem:
            self._give_up(_malformed(str(problem), problem.status, problem.code))
            return
        self.state = BUSY
        arrived = self._asked = server.clock()
        rest = data[end + 4 :]
        if head.length == len(rest) <= SMALL:
            server.handler(self, head, arrived, rest)
        elif head.chunked or head.length:
            server.handler(self, head, arrived, self._begin_body(head, rest))
        else:
            if rest:
                self._keep(rest)
            server.handler(self, head, arrived, b"")

    def _begin_body(self, head: RequestHead, data: bytes) -> bytes | RequestBody:
        """Return the body, if it is here and small, or what takes it in."""
        body = self._body = RequestBody(self, head, self._server.body_terms)
        if data:
            self._feed(data)
        return body.whole() if body.ended and body.unread <= SMALL else body

    def _feed(self, data: bytes) -> None:
        body = self._body
        if body is None:
            return
        try:
            rest = body.feed(data)
        except MalformedBody as problem:
            self.hold()
            body.fail(problem)
            return
        if body.ended:
            self._body = None
        if rest:
            self._keep(rest)
        body.tell()

    def _keep(self, data: bytes) -> None:
        """Keep what came too early for its turn."""
        self._ahead += data
        if len(self._ahead) > _AHEAD:
            self.hold()

    def _go_on(self) -> None:
        """Accept the next request out of what has been read already."""
        if self.state is READY and self._ahead:
            data, self._ahead = self._ahead, b""
            self.release()
            self.data_received(data)

    def _give_up(self, refusal: Refusal) -> None:
        self._server.malformed(refusal.code)
        self.send(response(refusal, "plain", method="GET", close=True))
        self._linger()

    def _linger(self) -> None:
        """Send no more, and read away what still comes, so that the last answer is not lost to a reset."""
        if self.transport is None or self.transport.is_closing():
            return
        self.state = LINGERING
        self._begun, self._body, self._ahead = None, None, b""
        self.release()
        self._wait()
        self.transport.write_eof()

    def _wait(self) -> None:
        self.since = self._server.clock()
        self._server.waiting.add(self)


Handler: TypeAlias = Callable[[ClientConnection, RequestHead, Nanoseconds, bytes | RequestBody], None]
"""Answers one request: its connection, its head, when that arrived, and its body, whole if it is small and
came with its head. Never raises."""


class ClientServer:
    """What all client connections share. Called, it gives the protocol of a new one."""

    def __init__(
        self,
        handler: Handler,
        *,
        clock: Callable[[], Nanoseconds],
        malformed: Callable[[str], None],
        head_patience: Nanoseconds,
        keep_alive: Nanoseconds,
        body_terms: BodyTerms,
        hangups: Hangups,
    ) -> None:
        self.handler = handler
        self.clock = clock
        self.malformed = malformed
        self.head_patience = head_patience
        self.keep_alive = keep_alive
        """How long an idle connection stays open."""
        self.body_terms = body_terms
        self.hangups = hangups
        self.loop = asyncio.get_running_loop()
        self.known: HeadCache[RequestHead] = HeadCache(request_head)
        self.clients: set[ClientConnection] = set()
        self.waiting: set[ClientConnection] = set()
        """Those in the middle of a head, and those that close."""
        self._swept = Nanoseconds(0)
        self._empty = asyncio.Event()

    def __call__(self) -> ClientConnection:
        """Return the protocol of a new connection."""
        return ClientConnection(self)

    def check(self, now: Nanoseconds) -> None:
        """Look after slow heads, slow ends and idle connections."""
        for client in tuple(self.waiting):
            client.check(now)
        if now - self._swept >= _SWEEP:
            self._swept = now
            for client in [client for client in self.clients if client.state is READY]:
                if now - client.since >= self.keep_alive:
                    client.end()

    def forget(self, client: ClientConnection) -> None:
        """Notify that a connection is gone."""
        self.clients.discard(client)
        self.waiting.discard(client)
        if not self.clients:
            self._empty.set()

    async def shutdown(self, patience: float) -> None:
        """Close all connections after what is written to them; reset those that take no more."""
        for client in tuple(self.clients):
            client.end()
        self._empty.clear()
        try:
            async with asyncio.timeout(patience):
                while self.clients:
                    await self._empty.wait()
        except TimeoutError:
            for client in tuple(self.clients):
                client.abort()


def _malformed(why: str, status: int = 400, code: str = "malformed") -> Refusal:
    return Refusal(status, code, f"the request is not valid HTTP: {why}")
