"""One exchange: a request on its way to the upstream that was chosen, and the answer on its way back.

With a small body and a kept connection all of it happens in the callbacks of the two connections; a task is
made only to connect and to upload. What becomes of the exchange when something happens is for ``decisions``.
"""

import asyncio
from contextlib import aclosing

from joulegate.errors import UpstreamError
from joulegate.gateway.exchange.answer import REFUSALS, Answer
from joulegate.gateway.exchange.decisions import (
    Action,
    ExchangeEvent,
    ExchangeStage,
    decide,
    failed,
    outcome_of,
)
from joulegate.gateway.exchange.tunnel import Tunnel, join
from joulegate.gateway.exchange.upstream_request import onward_head, rewritten_request, whole_request
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.http.body import BodyTimeout, RequestBody
from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.framing import LAST_CHUNK, MalformedBody, chunk
from joulegate.gateway.http.heads import RequestHead, ResponseHead
from joulegate.gateway.http.refusals import Refusal, failure, response
from joulegate.gateway.http.upstream_connection import BodySink, UpstreamConnection
from joulegate.gateway.policy.routing import upstream_target
from joulegate.gateway.replica import Replica
from joulegate.gateway.spans.request_span import CloseSpan, RequestSpan
from joulegate.gateway.upstreams import Upstream
from joulegate.model import Outcome, Phase
from joulegate.ports import Conclusion, Rewrite
from joulegate.ports.servers import AbandonedRequest
from joulegate.units import Nanoseconds


class Exchange:
    """Carries one request and its answer. Whatever happens, its span is closed exactly once."""

    __slots__ = (
        "_answer", "_arrived", "_client", "_connection", "_context", "_expiry", "_extra", "_finish_by",
        "_head", "_keep_alive", "_kept", "_key", "_patience", "_replica", "_rewrite", "_sent", "_since",
        "_small", "_span", "_stage", "_task", "_tried", "_tunnel", "_upload", "_upstream",
    )  # fmt: skip

    def __init__(
        self,
        context: GateContext,
        client: ClientConnection,
        head: RequestHead,
        body: bytes | RequestBody,
        upstream: Upstream,
        replica: Replica,
        span: RequestSpan,
        extra: bytes,
        key: bytes | None,
    ) -> None:
        self._context = context
        self._client = client
        self._head = head
        self._upstream = upstream
        self._replica = replica
        self._key = key
        """See ``Upstream.choose``."""
        self._tried: set[Replica] | None = None
        """Replicas that no connection could be opened to."""
        self._span = span
        self._extra = extra
        """Header lines of the gate's own for the answer."""
        self._answer = Answer(client, head, span, extra)
        self._small: bytes | None = body if isinstance(body, bytes) else None
        """The whole body, as long as it can be sent again."""
        self._upload = None if isinstance(body, bytes) else body
        self._arrived = Nanoseconds(0)
        self._stage = ExchangeStage.SENDING
        self._sent = False
        """The request is with the upstream whole."""
        self._keep_alive = head.keep_alive
        """The client's connection may go on after this answer."""
        self._rewrite: Rewrite | None = None
        """What is sent in place of the client's body."""
        self._connection: UpstreamConnection | None = None
        self._kept = False
        """The connection has been used before."""
        self._task: asyncio.Task[None] | None = None
        self._tunnel: Tunnel | None = None
        self._since = Nanoseconds(0)
        self._patience: Nanoseconds | None = None
        """How long after ``_since``, or after the last part of the answer, something is to happen."""
        self._expiry = Outcome.UPSTREAM_TIMEOUT
        self._finish_by: Nanoseconds | None = None

    def start(self, arrived: Nanoseconds) -> None:
        """Send the request, whose head and small body were here at ``arrived``."""
        context = self._context
        self._arrived = arrived
        self._client.carry(self)
        context.active.add(self)
        self._rewrite = self._wanted_rewrite()
        # A kept connection may turn out to be closed: what cannot be sent again goes over a fresh one.
        fresh = self._head.upgrade or self._small is None
        kept = None if fresh else self._replica.pool.kept()
        if kept is None:
            self._connect()
        else:
            self._kept = True
            self._attempt(kept)

    def shut_down(self) -> None:
        """End because the gate goes away."""
        self._happened(ExchangeEvent.SHUT_DOWN, Outcome.ORPHANED)

    def broken(self) -> None:
        """End because of a fault of the gate's own."""
        self._context.broken()
        self._give_up(Outcome.ORPHANED, Refusal(500, "gate_error", "an error in the gate"))

    def check(self, now: Nanoseconds) -> None:
        """Do what is due."""
        if self._stage is ExchangeStage.OVER:
            return
        self._answer.listen()
        self._span.check(now)
        late = self._finish_by is not None and now >= self._finish_by
        if late or (
            self._patience is not None and now - max(self._since, self._answer.last) >= self._patience
        ):
            self._drop_upstream()
            self.answer_failed(now, self._expiry, "")

    # --- the client's connection -----------------------------------------------------------------------

    @property
    def answering(self) -> bool:
        """The client has been sent a part of the answer."""
        return self._answer.begun

    def client_full(self, full: bool) -> None:  # noqa: FBT001, RUF100 (a state, not a flag)
        """Hold the upstream back while the client does not read."""
        connection = self._connection
        if connection is None or not self._answer.begun:
            return
        if full:
            connection.pause()
        else:
            connection.resume()
        self._wait(
            self._context.settings.timeouts.idle,
            Outcome.CLIENT_TIMEOUT if full else Outcome.STREAM_IDLE_TIMEOUT,
            self._context.clock(),
        )

    def client_left(self) -> None:
        """Stop the upstream's work at once, or let it finish without the client."""
        if self._stage is ExchangeStage.OVER or self._span.client_left is not None:
            return
        self._answer.leave()
        self._keep_alive = False
        if self._stage is ExchangeStage.ANSWERING:
            self._answer.listen()
            conclusion = self._span.observation.conclusion()
            if conclusion is not Conclusion.NONE:
                complete = conclusion is Conclusion.COMPLETE
                outcome = outcome_of(self._answer.status) if complete else Outcome.UPSTREAM_ERROR
                self._happened(ExchangeEvent.SATISFIED, outcome)
                return
        self._span.client_left = self._context.clock()
        finish = self._upstream.target.on_client_leave == "finish"
        self._happened(ExchangeEvent.LEFT_TO_FINISH if finish else ExchangeEvent.LEFT, Outcome.CANCELLED)

    # --- the upstream's connection -----------------------------------------------------------------------

    def answer_interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on, except the 100 for an expectation that the gate has met itself."""
        if head.status != 100 and not self._head.http10:
            self._answer.interim(head)
        if self._stage is ExchangeStage.WAITING:  # The server is there and at work.
            self._since = self._context.clock()

    def answer_head(self, t: Nanoseconds, head: ResponseHead) -> BodySink:
        """Pass the head on, or keep it back while it may be a refusal to count tokens."""
        if self._rewrite is not None and head.status in REFUSALS:
            self._answer.withhold(head)
            return self
        self._begin(t, head)
        return self._answer

    def answer_body(self, t: Nanoseconds, content: bytes, wire: bytes | None) -> None:
        """Keep a part of a possible refusal back, or pass on what turned out to be none."""
        if not self._answer.withheld:
            self._answer.answer_body(t, content, wire)
        else:
            self._wait(self._context.settings.timeouts.idle, Outcome.STREAM_IDLE_TIMEOUT, t)
            if not self._answer.keep(content):
                self._release(t)

    def answer_pauses(self) -> None:
        """Send what there is."""
        self._answer.pause()

    def answer_end(self, t: Nanoseconds) -> None:
        """Finish the answer."""
        answer = self._answer
        if answer.withheld:
            if self._stage is ExchangeStage.WAITING and answer.refuses_usage():
                self._connection = None
                self._happened(ExchangeEvent.USAGE_REFUSED)
                return
            self._release(t)
        answer.end()
        if answer.closes or not self._sent:
            self._keep_alive = False
        self._connection = None
        answer.listen()
        good = answer.status is not None and answer.status < 400
        within = good and self._span.observation.conclusion() is Conclusion.FAILED
        self._happened(ExchangeEvent.FAILED_WITHIN if within else ExchangeEvent.ENDED)

    def answer_failed(self, t: Nanoseconds, outcome: Outcome, detail: str) -> None:
        """Cut the answer if it has begun; else send the request again, or answer in the upstream's place."""
        connection, self._connection = self._connection, None
        event = ExchangeEvent.FAILED
        waits = self._stage is ExchangeStage.WAITING and self._small is not None
        if waits and self._kept and connection is not None:
            waited = Nanoseconds(t - self._since)
            event = failed(outcome, connection, self._head.method, waited)
        self._happened(event, outcome, detail)

    def answer_upgraded(self, t: Nanoseconds, head: ResponseHead, rest: bytes) -> None:
        """Join the two connections."""
        connection = self._connection
        if connection is None:
            return
        if not self._head.upgrade:
            connection.abort()
            self.answer_failed(t, Outcome.UPSTREAM_PROTOCOL_ERROR, "101 Switching Protocols unasked for")
            return
        self._connection = None
        self._keep_alive = False
        self._patience = None
        self._stage = ExchangeStage.SWITCHED
        self._answer.switch(head)
        upstream = connection.detach()
        try:
            listening = self._answer.listening(self._context.clock, head.headers)
            self._tunnel = join(self._client, upstream, rest, self._tunnel_ended, listening)
        except ConnectionResetError:
            upstream.abort()
            self._happened(ExchangeEvent.LEFT, Outcome.CANCELLED)

    # --- an attempt ------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._kept = False
        self._task = self._context.tasks.run(self._connected())

    async def _connected(self) -> None:
        context = self._context
        before = context.clock()
        connection = await self._opened()
        if connection is None:
            return
        if self._stage is ExchangeStage.OVER:
            connection.abort()
            return
        self._arrived = Nanoseconds(self._arrived + context.clock() - before)
        try:
            self._attempt(connection)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self.broken()

    async def _opened(self) -> UpstreamConnection | None:
        """Open a connection to the chosen replica, or to another one while nothing has been sent to any."""
        while True:
            replica = self._replica
            try:
                connection = await replica.pool.connect()
            except UpstreamError as error:
                replica.unreached(str(error))
                if not self._move():
                    self._happened(ExchangeEvent.FAILED, Outcome(error.outcome), self._reason(str(error)))
                    return None
            else:
                if replica.up is not True:
                    replica.reached()
                return connection

    def _move(self) -> bool:
        """Turn to a replica that has not been tried; return whether there is one and this may be done."""
        if self._sent or self._stage is ExchangeStage.OVER:
            return False
        tried = self._tried = self._tried or set()
        tried.add(self._replica)
        other = self._upstream.choose(self._span.observation.asked().model, self._key, tried)
        if other is None:
            return False
        self._replica.in_flight -= 1
        other.in_flight += 1
        self._replica = other
        self._span.moved(other.name, other.pool)
        return True

    def _reason(self, reason: str) -> str:
        """Return why no replica could be reached."""
        others = len(self._upstream.replicas) - 1
        if not others or self._sent:
            return reason
        return f"{reason}; no other replica of {self._upstream.name} can take the request"

    def _attempt(self, connection: UpstreamConnection) -> None:
        """Send the request over this connection."""
        head, span, small, rewrite = self._head, self._span, self._small, self._rewrite
        now = self._context.clock()
        self._connection = connection
        self._since, self._patience = now, self._context.settings.timeouts.first_byte
        self._expiry = Outcome.UPSTREAM_TIMEOUT
        self._answer.strip = rewrite.strip if rewrite is not None else None
        if span.overhead_request is None:
            span.overhead_request = Nanoseconds(max(0, now - self._arrived))
        if small is None:
            if self._upload is not None:
                self._task = self._context.tasks.run(self._send_parts(connection, self._upload))
            return
        span.body_bytes = len(small)
        if rewrite is not None:
            message = rewritten_request(head, self._replica, rewrite)
        else:
            message = whole_request(head, self._replica, small)
        self._sent = True
        self._stage = ExchangeStage.WAITING
        connection.begin(self, head.method, message, whole=True)
        span.open(now)

    async def _send_parts(self, connection: UpstreamConnection, body: RequestBody) -> None:
        """Send a body as it comes, while the answer may already be on its way back."""
        try:
            connection.begin(self, self._head.method, onward_head(self._head, self._replica))
            await self._pass_on(connection, body)
        except BodyTimeout:
            self._give_up(Outcome.CLIENT_TIMEOUT, failure(Outcome.CLIENT_TIMEOUT))
        except MalformedBody:
            refusal = Refusal(400, "malformed", "the framing of the body is broken")
            self._give_up(Outcome.CLIENT_ERROR, refusal)
        except ConnectionError:
            self.client_left()
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self.broken()

    async def _pass_on(self, connection: UpstreamConnection, body: RequestBody) -> None:
        chunked, span, clock = self._head.chunked, self._span, self._context.clock
        first_byte = self._context.settings.timeouts.first_byte
        self._wait_for_client()
        async with aclosing(body.parts()) as parts:
            async for part, new in parts:
                if not part:
                    continue
                if chunked:
                    connection.write_all(chunk(part))
                else:
                    connection.write(part)
                span.body_bytes += len(part)
                if new:
                    span.observation.request_body(part)
                if connection.full:
                    if self._stage is ExchangeStage.SENDING:
                        self._wait(first_byte, Outcome.UPSTREAM_TIMEOUT, clock())
                    await connection.drain()
                    self._wait_for_client()
        if chunked:
            connection.write(LAST_CHUNK)
        connection.finish_request()
        self._sent = True
        now = clock()
        span.open(now)
        if self._stage is ExchangeStage.SENDING:
            self._stage = ExchangeStage.WAITING
            self._wait(first_byte, Outcome.UPSTREAM_TIMEOUT, now)

    def _wanted_rewrite(self) -> Rewrite | None:
        """Return the body that asks for usage, if this request may be changed at all and wants a stream.

        An answer in one piece has its usage by itself.
        """
        context, observation = self._context, self._span.observation
        if (
            self._small is None
            or not context.settings.respond.ask_usage
            or observation.asked().stream is not True
        ):
            return None
        if self._head.encoded or self._upstream.usage_refusals.knows(observation.route.name):
            return None
        return observation.rewrite(self._small)

    # --- the answer ------------------------------------------------------------------------------------

    def _begin(self, t: Nanoseconds, head: ResponseHead) -> None:
        span, context = self._span, self._context
        self._keep_alive = self._keep_alive and self._sent
        self._answer.begin(head, keep_alive=self._keep_alive)
        if self._replica.failures:
            self._replica.answered()
        span.overhead_response = Nanoseconds(max(0, context.clock() - t))
        if not span.opened:
            span.open(t)
        self._stage = ExchangeStage.ANSWERING if span.client_left is None else ExchangeStage.ABANDONED
        self._since, self._patience = t, context.settings.timeouts.idle
        self._expiry = Outcome.STREAM_IDLE_TIMEOUT
        self._small = self._rewrite = None
        if self._client.writing_paused:
            self.client_full(True)

    def _release(self, t: Nanoseconds) -> None:
        """Send on what was kept back."""
        head, parts = self._answer.release()
        if head is not None:
            self._begin(t, head)
            for part in parts:
                self._answer.answer_body(t, part, None)

    def _tunnel_ended(self, outcome: Outcome) -> None:
        if outcome is Outcome.CANCELLED:
            self._span.client_left = self._context.clock()
            self._happened(ExchangeEvent.LEFT, outcome)
        else:
            self._happened(ExchangeEvent.ENDED if outcome is Outcome.OK else ExchangeEvent.FAILED, outcome)

    # --- what happens ----------------------------------------------------------------------------------

    def _happened(
        self,
        event: ExchangeEvent,
        outcome: Outcome | None = None,
        detail: str = "",
        refusal: Refusal | None = None,
    ) -> None:
        """Do what the table says; the outcome is the event's own, or that of the answer's status."""
        step = decide(self._stage, event)
        outcome = step.outcome or outcome or outcome_of(self._answer.status)
        match step.action:
            case Action.NOTHING:
                pass
            case Action.CLOSE:
                self._close(event, outcome)
            case Action.SEND_AGAIN | Action.SEND_PLAIN:
                self._send_again(step.action)
            case Action.FINISH:
                self._finish()
            case Action.STOP:
                self._stop(outcome)
            case Action.REFUSE:
                self._refuse(event, outcome, detail, refusal)
            case Action.CUT:
                self._keep_alive = False
                self._answer.cut()
                self._close(event, outcome)
            case Action.ABORT:
                if self._tunnel is not None:
                    self._tunnel.abort()
                self._client.abort()
                self._close(event, outcome)

    def _give_up(self, outcome: Outcome, refusal: Refusal) -> None:
        self._happened(ExchangeEvent.GAVE_UP, outcome, refusal=refusal)

    def _send_again(self, action: Action) -> None:
        if action is Action.SEND_PLAIN:
            self._answer.release()
            self._rewrite = None
            self._upstream.usage_refused(self._span.observation.route.name)
        self._stage = ExchangeStage.SENDING
        self._patience = None
        self._connect()

    def _finish(self) -> None:
        """Let the upstream finish, for so long as it may take to begin."""
        waits = self._stage is ExchangeStage.WAITING
        self._stage = ExchangeStage.ABANDONED_WAITING if waits else ExchangeStage.ABANDONED
        left, patience = self._span.client_left, self._context.settings.timeouts.first_byte
        self._finish_by = Nanoseconds((left or 0) + patience)
        if self._connection is not None:
            self._connection.resume()

    def _stop(self, outcome: Outcome) -> None:
        """Cut the upstream, and have its server stopped and watched, if it can be."""
        self._drop_upstream()
        context, replica, span = self._context, self._replica, self._span
        now = context.clock()
        path = upstream_target(replica.target, self._head.target.partition("?")[0])
        left = AbandonedRequest(path, self._head.fields)
        phase, status = self._stage.phase, self._answer.status

        def depart() -> CloseSpan:
            self._answer.listen()
            return span.depart(now, outcome, phase, status)

        if replica.disconnects.take(replica.kind, left, now, depart):
            self._end()
        else:
            self._close(ExchangeEvent.LEFT, outcome)

    def _refuse(self, event: ExchangeEvent, outcome: Outcome, detail: str, refusal: Refusal | None) -> None:
        """Answer in the upstream's place."""
        if event is ExchangeEvent.FAILED:
            self._upstream.failed(self._replica, outcome, detail)
        refusal = refusal or failure(outcome, detail)
        dialect = self._span.observation.route.dialect
        self._drop_upstream()
        self._keep_alive = False
        self._client.send(response(refusal, dialect, method=self._head.method, close=True, extra=self._extra))
        self._answer.status = refusal.status
        self._close(event, outcome)

    def _close(self, event: ExchangeEvent, outcome: Outcome) -> None:
        """Tell the meter that the request is over, and end."""
        switched = self._stage is ExchangeStage.SWITCHED and self._tunnel is not None
        status = 101 if switched else self._answer.status
        phase = Phase.DONE if event in {ExchangeEvent.ENDED, ExchangeEvent.SATISFIED} else self._stage.phase
        if self._connection is not None:
            self._drop_upstream()
        if event is not ExchangeEvent.ENDED:  # Then all of it has been heard.
            self._answer.listen()
        self._span.close(self._context.clock(), outcome, phase, status)
        self._end()

    def _end(self) -> None:
        self._stage = ExchangeStage.OVER
        self._patience = self._finish_by = None
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
        if self._upload is not None:
            self._upload.close()
        self._upstream.leave(self._replica)
        self._context.ended(self)
        self._client.answered(keep_alive=self._keep_alive)

    # --- inside ----------------------------------------------------------------------------------------

    def _drop_upstream(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _wait(self, patience: Nanoseconds, expiry: Outcome, since: Nanoseconds) -> None:
        self._since, self._patience, self._expiry = since, patience, expiry

    def _wait_for_client(self) -> None:
        """Wait for the client's next bytes: its own deadline counts, not the upstream's."""
        if self._stage is ExchangeStage.SENDING:
            self._patience = None
