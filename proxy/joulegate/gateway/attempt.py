"""Sending one request to its upstream: once, and again only where that can do no harm."""

import asyncio
from contextlib import aclosing

from msgspec import Struct

from joulegate.errors import UpstreamError
from joulegate.gateway.body import BROKEN, RequestBody
from joulegate.gateway.client import BodyTimeout, ClientConnection
from joulegate.gateway.desk import Desk
from joulegate.gateway.framing import LAST_CHUNK, chunk, request_lines
from joulegate.gateway.headers import forwarded, request_head
from joulegate.gateway.observation import Observation
from joulegate.gateway.relay import Exchange
from joulegate.gateway.responses import Refusal, failure, response
from joulegate.gateway.routing import upstream_target
from joulegate.gateway.settings import Target
from joulegate.gateway.upstream import UpstreamConnection
from joulegate.model import Outcome
from joulegate.ports import Headers, Rewrite
from joulegate.units import NANO, Nanoseconds

STALE = Nanoseconds(NANO)
"""A kept connection that the upstream had closed shows it within a round trip. One that breaks later had
been read from: the work may have begun, so the request is not sent again."""


class Job(Struct, frozen=True):
    """One request with all that is decided about it."""

    method: str
    raw_target: str
    headers: Headers
    fields: dict[bytes, bytes]
    """First value of each by its name in lower case."""
    upgrade: bool
    target: Target
    dialect: str
    client: ClientConnection
    body: RequestBody
    observation: Observation
    exchange: Exchange
    extra: bytes
    """Header lines of the gate's own for the answer."""
    arrived: Nanoseconds
    waited: Nanoseconds
    """Time since then that was the client's own."""


async def carry(desk: Desk, job: Job) -> None:
    """Send the request until it has an answer, of the upstream's or of the gate's."""
    exchange, pool = job.exchange, desk.pools[job.target.name]
    rewrite = _rewrite(desk, job)
    kept = None if job.upgrade else pool.kept()
    begun = desk.clock()
    await _attempt(desk, job, kept, rewrite)
    if kept is not None and _stale(desk, job, kept, begun):
        await _attempt(desk, job, None, rewrite)
    if exchange.usage_refused:
        desk.usage_refused(job.target.name)
        await _attempt(desk, job, None, None)
    if exchange.failure:
        _answer(desk, job, exchange.failure)


async def _attempt(
    desk: Desk, job: Job, connection: UpstreamConnection | None, rewrite: Rewrite | None
) -> None:
    exchange = job.exchange
    before = desk.clock()
    if connection is None:
        try:
            connection = await desk.pools[job.target.name].connect()
        except UpstreamError as error:
            exchange.failure = error
            return
        desk.reached(job.target.name)
    if exchange.span.closed:
        connection.abort()
        return
    exchange.start(connection, rewrite.strip if rewrite else None)
    exchange.asks_usage = rewrite is not None
    now = desk.clock()
    if exchange.span.overhead_request is None:
        connecting = now - before
        exchange.span.overhead_request = Nanoseconds(max(0, now - job.arrived - job.waited - connecting))
    small = rewrite.body if rewrite else job.body.small
    if small is None:
        await _stream(desk, job, connection)
        return
    exchange.span.body_bytes = len(job.body.small or b"")
    connection.begin(exchange, _message(job, small, rewrite), answer_is_head=job.method == "HEAD")
    exchange.sent()
    await exchange.done


def _message(job: Job, body: bytes, rewrite: Rewrite | None) -> bytes:
    if rewrite:
        return _head(job, request_lines(len(body), chunked=False), plain=rewrite.strip is not None) + body
    framing = request_lines(job.body.length, chunked=job.body.chunked)
    if job.body.chunked:
        body = b"".join(chunk(body)) + LAST_CHUNK
    return _head(job, framing) + body


def _head(job: Job, framing: bytes, *, plain: bool = False) -> bytes:
    """Give the head for the upstream; ``plain`` asks for an answer that can be filtered: not compressed."""
    fields = forwarded(job.headers)
    endpoint = job.target.endpoint
    host = endpoint.text().partition("://")[2].encode()
    if b"host" not in job.fields:
        fields.insert(0, (b"Host", host))
    if endpoint.scheme == "https":
        # The certificate and the virtual host are the upstream's own; over plain HTTP the client's stays.
        fields = [(name, host if name.lower() == b"host" else value) for name, value in fields]
    dropped = (b"expect", b"accept-encoding") if plain else (b"expect",)
    if any(name in job.fields for name in dropped):
        fields = [field for field in fields if field[0].lower() not in dropped]
    if job.upgrade:
        framing = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    return request_head(job.method, upstream_target(job.target, job.raw_target), fields, framing)


async def _stream(desk: Desk, job: Job, connection: UpstreamConnection) -> None:
    """Send a body as it comes, while the answer may already be on its way back."""
    framing = request_lines(job.body.length, chunked=job.body.chunked)
    connection.begin(job.exchange, _head(job, framing), answer_is_head=job.method == "HEAD")
    async with asyncio.TaskGroup() as group:
        upload = group.create_task(_upload(desk, job, connection))
        await job.exchange.done
        upload.cancel()


async def _upload(desk: Desk, job: Job, connection: UpstreamConnection) -> None:
    try:
        await _pass_on(desk, job, connection)
    except BodyTimeout:
        _refuse(job, Outcome.CLIENT_TIMEOUT, failure(Outcome.CLIENT_TIMEOUT))
    except BROKEN:
        broken = Refusal(400, "malformed", "the framing of the body is broken")
        _refuse(job, Outcome.CLIENT_ERROR, broken)
    except ConnectionError:
        job.exchange.client_left()


async def _pass_on(desk: Desk, job: Job, connection: UpstreamConnection) -> None:
    exchange, body = job.exchange, job.body
    exchange.upstream_waits()
    async with aclosing(body.parts()) as parts:
        async for part, new in parts:
            if not part:
                continue
            if body.chunked:
                connection.write_all(chunk(part))
            else:
                connection.write(part)
            exchange.span.body_bytes += len(part)
            if new:
                job.observation.request_body(part)
            if connection.full:
                exchange.client_waits()
                await _room(desk, job, connection)
                exchange.upstream_waits()
    if body.chunked:
        connection.write(LAST_CHUNK)
    exchange.sent()


async def _room(desk: Desk, job: Job, connection: UpstreamConnection) -> None:
    """Wait for the upstream to read, and see the client leave although it is not being read from."""
    transport = job.client.transport
    watched = desk.hangups.watch(transport, job.client.abort) if transport else -1
    try:
        await connection.drain()
    finally:
        desk.hangups.forget(watched)


def _rewrite(desk: Desk, job: Job) -> Rewrite | None:
    """Give the body that asks for usage, if this request may be changed at all and wants a stream.

    An answer in one piece has its usage by itself.
    """
    body = job.body.small
    if not desk.settings.ask_usage or not body or job.target.name in desk.refuses_usage:
        return None
    if b"content-encoding" in job.fields or job.observation.asked().stream is not True:
        return None
    return job.observation.rewrite(body)


def _stale(desk: Desk, job: Job, kept: UpstreamConnection, begun: Nanoseconds) -> bool:
    """Say whether the upstream had closed this kept connection before it saw the request."""
    failed = job.exchange.failure
    return (
        failed is not None
        and failed.outcome == Outcome.UPSTREAM_RESET
        and not kept.answered
        and job.body.small is not None
        and not job.exchange.span.closed
        and desk.clock() - begun < STALE
    )


def _answer(desk: Desk, job: Job, error: UpstreamError) -> None:
    outcome = Outcome(error.outcome)
    desk.failed(job.target.name, outcome, str(error))
    _refuse(job, outcome, failure(outcome, str(error)))


def _refuse(job: Job, outcome: Outcome, refusal: Refusal) -> None:
    message = response(refusal, job.dialect, method=job.method, close=True, extra=job.extra)
    job.exchange.refuse(outcome, refusal.status, lambda: job.client.send(message))
