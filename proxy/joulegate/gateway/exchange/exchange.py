"""One exchange: from the moment the upstream is chosen until the last byte, the cut or the cancel.

The answer is relayed by callbacks, straight from one transport to the other: no task wakes up for a chunk.
Whatever happens, the span is closed exactly once.
"""

import asyncio
from collections.abc import Callable

from joulegate.errors import UpstreamError
from joulegate.gateway.exchange.answer_context import REFUSALS, AnswerContext, WithheldRefusal
from joulegate.gateway.exchange.request_span import Ending
from joulegate.gateway.exchange.response_pipeline import ResponsePipeline
from joulegate.gateway.exchange.roles import AttemptCallbacks
from joulegate.gateway.exchange.tunnel import Tunnel, join
from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.heads import ResponseHead
from joulegate.gateway.http.refusals import outcome_of
from joulegate.gateway.http.upstream_connection import Clock, UpstreamConnection
from joulegate.gateway.policy.settings import Timeouts
from joulegate.model import Outcome, Phase
from joulegate.ports import Rewrite
from joulegate.units import Nanoseconds


class Exchange:
    """Carries one request and its answer; the consumer of its upstream connection."""

    __slots__ = (
        "_client", "_client_left", "_clock", "_due", "_expiry", "_finish_by", "_passage",
        "_sent", "_timeouts", "_tunnel", "_wish", "_withheld", "_writer", "asks_usage", "carrier",
        "connection", "failure", "keep_alive", "phase", "span", "usage_refused",
    )  # fmt: skip

    def __init__(
        self,
        client: ClientConnection,
        wish: AnswerContext,
        passage: ResponsePipeline,
        timeouts: Timeouts,
        clock: Clock,
    ) -> None:
        self._client = client
        self._wish = wish
        self._timeouts = timeouts
        self._clock = clock
        self._passage = passage
        self._writer = passage.writer
        self._client_left: Nanoseconds | None = None
        self._finish_by: Nanoseconds | None = None
        self._due: int | None = None
        """Nanoseconds: when what is waited for is late; one wait takes the place of another."""
        self._expiry = Outcome.UPSTREAM_TIMEOUT
        self._withheld: WithheldRefusal | None = None
        self._tunnel: Tunnel | None = None
        self._sent = False
        self.span = passage.span
        self.phase = Phase.REQUEST
        self.connection: UpstreamConnection | None = None
        self.carrier: AttemptCallbacks | None = None
        self.failure: UpstreamError | None = None
        """Why there is no answer."""
        self.asks_usage = False
        """The body that was sent asks for usage where the client did not."""
        self.usage_refused = False
        """The upstream does not know how to be asked for usage."""
        self.keep_alive = wish.keep_alive
        """The client's connection may go on after this answer."""

    @property
    def begun(self) -> bool:
        """The client has been sent a part of the answer."""
        return self._writer.begun

    # --- from the request's side ---------------------------------------------------------------------

    def start(self, connection: UpstreamConnection, now: Nanoseconds, rewrite: Rewrite | None) -> None:
        """Begin an attempt on this connection; ``rewrite`` is what is sent in place of the client's body."""
        self.failure = None
        self.usage_refused = False
        self.asks_usage = rewrite is not None
        self._withheld = None
        self._passage.strip = rewrite.strip if rewrite is not None else None
        self.connection = connection
        self.phase = Phase.REQUEST
        self._sent = False
        self._due, self._expiry = Nanoseconds(now + self._timeouts.first_byte), Outcome.UPSTREAM_TIMEOUT

    def sent(self, now: Nanoseconds) -> None:
        """Record that the request is with the upstream, head and body."""
        if self.connection is not None:
            self.connection.finish_request()
        self._sent = True
        self.span.open(now)
        if self.phase is Phase.REQUEST:
            self.phase = Phase.WAITING
            self._due, self._expiry = Nanoseconds(now + self._timeouts.first_byte), Outcome.UPSTREAM_TIMEOUT

    def client_waits(self) -> None:
        """Record that the upstream takes no more of the body for now."""
        if self.phase is Phase.REQUEST:
            self._arm(self._timeouts.first_byte, Outcome.UPSTREAM_TIMEOUT)

    def upstream_waits(self) -> None:
        """Record that the client's next bytes are waited for: its own deadline counts, not the upstream's."""
        if self.phase is Phase.REQUEST:
            self._due = None

    def refuse(self, outcome: Outcome, status: int, send: Callable[[], None]) -> None:
        """End with an answer of the gate's own, or with a cut if another one has begun."""
        if self.span.closed:
            return
        self._drop_upstream()
        self.keep_alive = False
        if self._writer.begun:
            self._writer.cut()
        else:
            send()
        self._close(outcome, self._writer.status or status)

    def orphan(self) -> None:
        """End because the gate goes away."""
        if self._tunnel:
            self._tunnel.abort()
        self._drop_upstream()
        self._client.abort()
        self._close(Outcome.ORPHANED, self._writer.status)

    # --- the client's connection -----------------------------------------------------------------------

    def client_full(self, full: bool) -> None:  # noqa: FBT001, RUF100 (a state, not a flag)
        """Hold the upstream back while the client does not read."""
        connection = self.connection
        if connection is None or not self._writer.begun:
            return
        if full:
            connection.pause()
            self._arm(self._timeouts.idle, Outcome.CLIENT_TIMEOUT)
        else:
            connection.resume()
            self._arm(self._timeouts.idle, Outcome.STREAM_IDLE_TIMEOUT)

    def client_left(self) -> None:
        """Stop the upstream's work at once, or let it finish without the client."""
        if self.span.closed or self._client_left is not None:
            return
        now = self._client_left = self._clock()
        self._writer.leave()
        self.keep_alive = False
        may_finish = self.connection is not None and self.phase in {Phase.WAITING, Phase.RESPONSE}
        if self._wish.finish and may_finish and self.connection and not self._tunnel:
            self._finish_by = Nanoseconds(now + self._timeouts.first_byte)
            self.connection.resume()
            return
        self._drop_upstream()
        if may_finish and self.carrier is not None:
            ending = Ending(Outcome.CANCELLED, self._writer.status or None, self.phase, now)
            if self.carrier.client_left(ending):
                self._due = None
                self._settle()
                return
        self._close(Outcome.CANCELLED, self._writer.status)

    # --- the upstream's connection -----------------------------------------------------------------------

    def answer_interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on, except the 100 for an expectation that the gate has met itself."""
        if head.status != 100 and not self._wish.http10:
            self._passage.interim(head)

    def answer_head(self, t: Nanoseconds, head: ResponseHead) -> None:
        """Pass the head on, or keep it back while it may be a refusal to count tokens."""
        if self.asks_usage and head.status in REFUSALS:
            self._withheld = WithheldRefusal(head)
        else:
            self._begin(t, head)

    def answer_body(self, t: Nanoseconds, content: bytes, wire: bytes | None) -> None:
        """Pass a part on: to the client first, then to the observer."""
        self._due, self._expiry = t + self._timeouts.idle, Outcome.STREAM_IDLE_TIMEOUT
        if self._withheld is not None:
            if not self._withheld.add(content):
                self._let_go(t)
            return
        self._passage.body(t, content, wire)

    def answer_pauses(self) -> None:
        """Send what there is."""
        self._passage.pause()

    def answer_end(self, t: Nanoseconds) -> None:
        """Finish the answer."""
        if self._withheld and self._withheld.names_usage() and self._client_left is None:
            self.usage_refused = True
            self.connection = None
            self._due = None
            self._settle()
            return
        self._let_go(t)
        self._passage.end()
        if self._writer.closes or not self._sent:
            self.keep_alive = False
        self.connection = None
        self.phase = Phase.DONE
        status = self._writer.status
        self._close(outcome_of(status) if self._client_left is None else Outcome.CANCELLED, status)

    def answer_failed(self, _: Nanoseconds, outcome: Outcome, detail: str) -> None:
        """Cut the answer if it has begun; else let the request's side decide."""
        self.connection = None
        if self._client_left is not None:
            self._close(Outcome.CANCELLED, self._writer.status)
        elif self._writer.begun:
            self.keep_alive = False
            self._writer.cut()
            cut = outcome is Outcome.UPSTREAM_RESET
            self._close(Outcome.UPSTREAM_TRUNCATED if cut else outcome, self._writer.status)
        else:
            self.failure = UpstreamError(outcome, detail)
            self._due = None
            self._settle()

    def answer_upgraded(self, t: Nanoseconds, head: ResponseHead, rest: bytes) -> None:
        """Join the two connections."""
        connection, self.connection = self.connection, None
        if not self._wish.upgrade or connection is None:
            if connection:
                connection.abort()
            detail = "101 Switching Protocols unasked for"
            self.answer_failed(t, Outcome.UPSTREAM_PROTOCOL_ERROR, detail)
            return
        self.keep_alive = False
        self._due = None
        self._join(head, connection.detach(), rest)

    def check(self, now: Nanoseconds) -> None:
        """Do what is due."""
        self.span.check(now)
        late = self._finish_by is not None and now >= self._finish_by
        if late or (self._due is not None and now >= self._due):
            self._due = None
            self._drop_upstream()
            self.answer_failed(now, self._expiry, "")

    def _begin(self, t: Nanoseconds, head: ResponseHead) -> None:
        self.keep_alive = self.keep_alive and self._sent
        self._passage.begin(head, keep_alive=self.keep_alive)
        self.span.overhead_response = Nanoseconds(max(0, self._clock() - t))
        self.span.open(t)
        self.phase = Phase.RESPONSE
        self._due, self._expiry = Nanoseconds(t + self._timeouts.idle), Outcome.STREAM_IDLE_TIMEOUT
        if self.carrier is not None:
            self.carrier.answer_begins()
        if self._client.writing_paused:
            self.client_full(True)

    def _let_go(self, t: Nanoseconds) -> None:
        """Send on what was kept back."""
        withheld, self._withheld = self._withheld, None
        if withheld:
            self._begin(t, withheld.head)
            for part in withheld.parts:
                self.answer_body(t, part, None)

    def _join(self, head: ResponseHead, upstream: asyncio.Transport, rest: bytes) -> None:
        self.phase = Phase.RESPONSE
        self._passage.switch(head)
        try:
            listening = self._passage.listening(self._clock, head.headers)
            self._tunnel = join(self._client, upstream, rest, self._tunnel_ended, listening)
        except ConnectionResetError:
            upstream.abort()
            self._close(Outcome.CANCELLED, None)

    def _tunnel_ended(self, outcome: Outcome) -> None:
        if outcome is Outcome.OK:
            self.phase = Phase.DONE
        if outcome is Outcome.CANCELLED:
            self._client_left = self._clock()
        self._close(outcome, 101)

    def _drop_upstream(self) -> None:
        connection, self.connection = self.connection, None
        if connection:
            connection.abort()

    def _arm(self, patience: Nanoseconds, expiry: Outcome) -> None:
        self._due, self._expiry = Nanoseconds(self._clock() + patience), expiry

    def _close(self, outcome: Outcome, status: int | None) -> None:
        if self.span.closed:
            return
        self._due = None
        self._finish_by = None
        self.span.close(self._clock(), Ending(outcome, status or None, self.phase, self._client_left))
        self._settle()

    def _settle(self) -> None:
        if self.carrier is not None:
            self.carrier.settled()
