"""Sending one request to its upstream: once, and again only where that can do no harm.

With a small body and a kept connection all of it happens in the callback that brought the request; a task is
made only to connect and to upload.
"""

import asyncio
from contextlib import aclosing
from functools import partial

from joulegate.errors import UpstreamError
from joulegate.gateway.exchange.exchange import Exchange
from joulegate.gateway.exchange.observation import Observation
from joulegate.gateway.exchange.request_span import Ending
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.http.body import BodyTimeout, RequestBody
from joulegate.gateway.http.encodings import is_encoded
from joulegate.gateway.http.framing import LAST_CHUNK, MalformedBody, chunk, request_lines
from joulegate.gateway.http.headers import forwarded, request_head
from joulegate.gateway.http.incoming import Incoming
from joulegate.gateway.http.refusals import Refusal, failure, response
from joulegate.gateway.http.upstream_connection import UpstreamConnection
from joulegate.gateway.policy.routing import upstream_target
from joulegate.gateway.policy.settings import Target
from joulegate.gateway.servers.stop_calls import AbandonedRequest
from joulegate.model import Outcome
from joulegate.ports import Rewrite, Route
from joulegate.units import NANO, Nanoseconds

STALE = Nanoseconds(NANO)
"""A kept connection that the upstream had closed shows it within a round trip. One that breaks later had
been read from: the work may have begun, so the request is not sent again."""


class Attempt:
    """One request with all that is decided about it, until the client has an answer."""

    __slots__ = (
        "_arrived", "_begun", "_body", "_client", "_desk", "_exchange", "_extra", "_head",
        "_kept", "_observation", "_rewrite", "_route", "_small", "_target", "_task",
    )  # fmt: skip

    def __init__(
        self,
        desk: GateContext,
        incoming: Incoming,
        target: Target,
        route: Route,
        observation: Observation,
        exchange: Exchange,
        extra: bytes,
    ) -> None:
        self._desk = desk
        self._head = incoming.head
        self._client = incoming.client
        self._small = incoming.small
        self._body = incoming.body
        self._arrived = incoming.arrived
        self._target = target
        self._route = route
        self._observation = observation
        self._exchange = exchange
        self._extra = extra
        self._rewrite: Rewrite | None = None
        self._kept: UpstreamConnection | None = None
        self._begun = Nanoseconds(0)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Send the request until it has an answer, of the upstream's or of the gate's."""
        desk, exchange = self._desk, self._exchange
        self._client.exchange = exchange
        exchange.carrier = self
        desk.began(exchange)
        self._rewrite = self._wanted_rewrite()
        kept = None if self._head.upgrade else desk.pools[self._target.name].kept()
        if kept is None:
            self._connect()
        else:
            self._kept = kept
            self._begun = desk.clock()
            self._attempt(kept, self._begun)

    # --- what the exchange tells -----------------------------------------------------------------------

    def answer_begins(self) -> None:
        """Let go of what could have been sent again."""
        self._small = self._rewrite = self._kept = None

    def client_left(self, ending: Ending) -> bool:
        """Have the server stopped and watched, if it can be."""
        desk, span, now = self._desk, self._exchange.span, self._desk.clock()
        path = upstream_target(self._target, self._head.target.partition("?")[0])
        left = AbandonedRequest(path, self._head.fields)
        depart = partial(span.depart, now, ending)
        return desk.aftercare[self._target.name].take(desk.kind(self._target.name), left, now, depart)

    def settled(self) -> None:
        """Go on after an attempt: to the end, to another attempt, or to an answer of the gate's own."""
        exchange, desk = self._exchange, self._desk
        if exchange.span.closed:
            self._end()
        elif exchange.usage_refused:
            desk.usage_refused(self._target.name, self._route.name)
            self._rewrite = self._kept = None
            self._connect()
        elif self._stale():
            self._kept = None
            self._connect()
        elif exchange.failure:
            outcome = Outcome(exchange.failure.outcome)
            desk.failed(self._target.name, outcome, str(exchange.failure))
            self._refuse(outcome, failure(outcome, str(exchange.failure)))

    # --- one attempt -----------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._task = self._desk.errands.run(self._connected())

    async def _connected(self) -> None:
        desk, exchange = self._desk, self._exchange
        before = desk.clock()
        try:
            connection = await desk.pools[self._target.name].connect()
        except UpstreamError as error:
            exchange.failure = error
            self.settled()
            return
        desk.reached(self._target.name)
        if exchange.span.closed:
            connection.abort()
            return
        self._arrived = Nanoseconds(self._arrived + desk.clock() - before)
        try:
            self._attempt(connection, desk.clock())
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self.broken()

    def _attempt(self, connection: UpstreamConnection, now: Nanoseconds) -> None:
        exchange, rewrite = self._exchange, self._rewrite
        exchange.start(connection, now, rewrite)
        if exchange.span.overhead_request is None:
            exchange.span.overhead_request = Nanoseconds(max(0, now - self._arrived))
        small = self._small
        if rewrite is None and small is None:
            if self._body is not None:
                self._task = self._desk.errands.run(self._upload(connection, self._body))
            return
        exchange.span.body_bytes = len(small or b"")
        connection.begin(exchange, self._head.method, self._message(rewrite))
        exchange.sent(now)

    def _message(self, rewrite: Rewrite | None) -> bytes:
        """Return the whole request."""
        head, small = self._head, self._small or b""
        if rewrite:
            framing = request_lines(len(rewrite.body), chunked=False)
            return self._lines(framing, plain=rewrite.strip is not None) + rewrite.body
        if head.chunked:
            small = b"".join(chunk(small)) + LAST_CHUNK
        return self._onward() + small

    def _onward(self) -> bytes:
        """Return the head for the upstream; it is the same for each request with this head."""
        head, name = self._head, self._target.name
        onward = head.onward.get(name)
        if onward is None:
            framing = request_lines(head.length, chunked=head.chunked)
            onward = head.onward[name] = self._lines(framing)
        return onward

    def _lines(self, framing: bytes, *, plain: bool = False) -> bytes:
        """Return the head for the upstream; ``plain`` asks for an answer that can be filtered."""
        head, endpoint = self._head, self._target.endpoint
        fields = forwarded(head.headers)
        host = endpoint.text().partition("://")[2].encode()
        if b"host" not in head.fields:
            fields.insert(0, (b"Host", host))
        if endpoint.scheme == "https":
            # The certificate and the virtual host are the upstream's own; over plain HTTP the client's stays.
            fields = [(name, host if name.lower() == b"host" else value) for name, value in fields]
        dropped = (b"expect", b"accept-encoding") if plain else (b"expect",)
        if any(name in head.fields for name in dropped):
            fields = [field for field in fields if field[0].lower() not in dropped]
        if head.upgrade:
            framing = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        return request_head(head.method, upstream_target(self._target, head.target), fields, framing)

    # --- a body that is not here yet -------------------------------------------------------------------

    async def _upload(self, connection: UpstreamConnection, body: RequestBody) -> None:
        """Send a body as it comes, while the answer may already be on its way back."""
        try:
            connection.begin(self._exchange, self._head.method, self._onward())
            await self._pass_on(connection, body)
        except BodyTimeout:
            self._refuse(Outcome.CLIENT_TIMEOUT, failure(Outcome.CLIENT_TIMEOUT))
        except MalformedBody:
            refusal = Refusal(400, "malformed", "the framing of the body is broken")
            self._refuse(Outcome.CLIENT_ERROR, refusal)
        except ConnectionError:
            self._exchange.client_left()
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self.broken()

    async def _pass_on(self, connection: UpstreamConnection, body: RequestBody) -> None:
        exchange, chunked = self._exchange, self._head.chunked
        exchange.upstream_waits()
        async with aclosing(body.parts()) as parts:
            async for part, new in parts:
                if not part:
                    continue
                if chunked:
                    connection.write_all(chunk(part))
                else:
                    connection.write(part)
                exchange.span.body_bytes += len(part)
                if new:
                    self._observation.request_body(part)
                if connection.full:
                    exchange.client_waits()
                    await connection.drain()
                    exchange.upstream_waits()
        if chunked:
            connection.write(LAST_CHUNK)
        exchange.sent(self._desk.clock())

    # --- inside ----------------------------------------------------------------------------------------

    def _wanted_rewrite(self) -> Rewrite | None:
        """Return the body that asks for usage, if this request may be changed at all and wants a stream.

        An answer in one piece has its usage by itself.
        """
        body, desk = self._small, self._desk
        if not body or not desk.settings.ask_usage:
            return None
        if desk.usage_refusals.knows(self._target.name, self._route.name):
            return None
        if is_encoded(self._head.fields) or self._observation.asked().stream is not True:
            return None
        return self._observation.rewrite(body)

    def _stale(self) -> bool:
        """Whether the upstream had closed this kept connection before it saw the request."""
        failed, kept = self._exchange.failure, self._kept
        return (
            kept is not None
            and failed is not None
            and failed.outcome == Outcome.UPSTREAM_RESET
            and not kept.answered
            and self._small is not None
            and self._desk.clock() - self._begun < STALE
        )

    def _refuse(self, outcome: Outcome, refusal: Refusal) -> None:
        method, dialect = self._head.method, self._route.dialect
        message = response(refusal, dialect, method=method, close=True, extra=self._extra)
        self._exchange.refuse(outcome, refusal.status, partial(self._client.send, message))

    def broken(self) -> None:
        """End because of a fault of the gate's own."""
        self._desk.broken()
        refusal = Refusal(500, "gate_error", "an error in the gate")
        self._refuse(Outcome.ORPHANED, refusal)

    def _end(self) -> None:
        exchange = self._exchange
        exchange.carrier = None
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
        if self._body is not None:
            self._body.close()
        self._desk.ended(exchange, self._target)
        self._client.answered(keep_alive=exchange.keep_alive)
