"""A small request of the gate's own: to learn what a server is, to stop it, to see whether it works.

It takes a connection of its own from the pool, so that it passes where the traffic passes, and cuts it.
"""

import asyncio

from joulegate.errors import UpstreamError
from joulegate.gateway.http.headers import request_head
from joulegate.gateway.http.heads import ResponseHead
from joulegate.gateway.http.pool import Pool
from joulegate.model import Outcome
from joulegate.ports import Headers
from joulegate.ports.servers import ServerAnswer
from joulegate.units import Nanoseconds

LARGEST = 1 << 20
"""Bytes of an answer that are looked at; the rest is not waited for."""
PATIENCE = 2.0
"""Seconds for one call."""


async def call(
    pool: Pool,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    shown: Headers = (),
    patience: float = PATIENCE,
    largest: int | None = None,
) -> ServerAnswer:
    """Send a request and return the answer. Raises ``UpstreamError`` without one after ``patience`` seconds.

    ``shown`` are header fields besides; of the body the first ``largest`` bytes are given, ``LARGEST`` if it
    says nothing.
    """
    fields = [(b"Host", pool.host), (b"User-Agent", b"joulegate"), (b"Accept", b"application/json"), *shown]
    framing = b"Connection: close\r\n"
    if body or method == "POST":
        fields.append((b"Content-Type", b"application/json"))
        framing += b"Content-Length: %d\r\n" % len(body)
    message = request_head(method, path, fields, framing) + body
    consumer = _Consumer(LARGEST if largest is None else largest)
    try:
        async with asyncio.timeout(patience):
            connection = await pool.connect()
            try:
                connection.begin(consumer, method, message, whole=True)
                return await consumer.answer
            finally:
                connection.abort()
    except TimeoutError as error:
        raise UpstreamError(Outcome.UPSTREAM_TIMEOUT, f"no answer to {method} {path}") from error


class _Consumer:
    """Keeps an answer; see ``upstream_connection.ResponseSink``."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.answer: asyncio.Future[ServerAnswer] = asyncio.get_running_loop().create_future()
        self._head: ResponseHead | None = None
        self._body = bytearray()

    def answer_interim(self, head: ResponseHead) -> None:
        pass

    def answer_head(self, t: Nanoseconds, head: ResponseHead) -> "_Consumer":  # noqa: ARG002 (the port's)
        self._head = head
        return self

    def answer_upgraded(self, t: Nanoseconds, head: ResponseHead, rest: bytes) -> None:  # noqa: ARG002
        self._fail(Outcome.UPSTREAM_PROTOCOL_ERROR, "101 Switching Protocols unasked for")

    def answer_body(self, t: Nanoseconds, content: bytes, wire: bytes | None) -> None:  # noqa: ARG002
        self._body += content
        if len(self._body) >= self._largest:
            self.answer_end(t)

    def answer_end(self, t: Nanoseconds) -> None:  # noqa: ARG002 (the port's)
        if self._head and not self.answer.done():
            self.answer.set_result(
                ServerAnswer(self._head.status, self._head.fields, bytes(self._body[: self._largest]))
            )

    def answer_pauses(self) -> None:
        pass

    def answer_failed(self, t: Nanoseconds, outcome: Outcome, detail: str) -> None:  # noqa: ARG002 (the port's)
        self._fail(outcome, detail)

    def _fail(self, outcome: Outcome, detail: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(UpstreamError(outcome, detail))
