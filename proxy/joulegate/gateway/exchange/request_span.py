"""The events of one request: opened once, closed once, whatever happens."""

from array import array
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from joulegate.gateway.exchange.observation import Observation
from joulegate.gateway.policy.task_rules import TaskRule, task_of
from joulegate.model import (
    Asked,
    JobSign,
    Outcome,
    Phase,
    SpanChunks,
    SpanClosed,
    SpanFirstByte,
    SpanId,
    SpanOpened,
    Task,
    WorkClass,
)
from joulegate.ports import EventSink, Route
from joulegate.units import NANO, Nanoseconds

MOST_CHUNKS = 64
"""Chunks in one event."""
LONGEST = Nanoseconds(NANO)
"""Time that a chunk waits for its event."""


class Identity(Struct, frozen=True):
    """What is known of a request before anything is sent."""

    id: SpanId
    upstream: str
    protocol: str
    route: Route
    task: Task | None = None
    """In place of the route's own, if it is inference."""
    tasks: tuple[TaskRule, ...] = ()
    """Rules in place of both; the model decides between them."""
    model: str | None = None
    """Of a request that names none."""
    tenant: str | None = None
    client_request_id: str | None = None


class Ending(Struct, frozen=True):
    """How the gate saw a request end."""

    outcome: Outcome
    status: int | None
    phase: Phase
    client_left: Nanoseconds | None = None


def opened(
    identity: Identity,
    t: Nanoseconds,
    asked: Asked,
    *,
    body_bytes: int = 0,
    task: Task | None = None,
    work: WorkClass | None = None,
) -> SpanOpened:
    """Return how a request began; task and work are the route's unless something says better."""
    route = identity.route
    if asked.model is None and identity.model is not None:
        asked = replace(asked, model=identity.model)
    work, task = work or asked.work or route.work, task or asked.task or route.task
    if work is WorkClass.INFERENCE:
        task = task_of(identity.tasks, asked.model) or identity.task or task
    return SpanOpened(
        id=identity.id,
        t=t,
        upstream=identity.upstream,
        protocol=identity.protocol,
        task=task,
        work=work,
        route=route.name,
        asked=asked,
        body_bytes=body_bytes,
        tenant=identity.tenant,
        client_request_id=identity.client_request_id,
    )


CloseSpan = Callable[[Nanoseconds, Outcome], None]
"""Tells when, and how, a request really ended whose client had left before."""


class JobSink(Protocol):
    """Who hears what an exchange learnt of jobs."""

    def tell(self, t: Nanoseconds, signs: Iterable[JobSign]) -> None:
        """Tell the meter."""
        ...

    def end(self, t: Nanoseconds, outcome: Outcome) -> None:
        """Notify that the exchange is over."""
        ...


class RequestSpan:
    """Tells the sink of one request."""

    __slots__ = (
        "_chunks", "_flushed", "_identity", "_observation", "_opened", "_sink", "_streamed", "body_bytes",
        "closed", "ear", "overhead_request", "overhead_response", "response_bytes",
    )  # fmt: skip

    def __init__(
        self, sink: EventSink, identity: Identity, observation: Observation, ear: JobSink | None = None
    ) -> None:
        self._sink = sink
        self.ear = ear
        """Who hears what the exchange learns of jobs."""
        self._identity = identity
        self._observation = observation
        self._opened = False
        self.closed = False
        """The request is over."""
        self._streamed: bool | None = None
        """Whether each chunk is told; ``None`` until there is one."""
        self._flushed = Nanoseconds(0)
        self._chunks: array[int] | None = None
        """Times and sizes by turns of the chunks since the last event: 16 bytes each, not 96."""
        self.body_bytes = 0
        self.response_bytes = 0
        self.overhead_request: Nanoseconds | None = None
        self.overhead_response: Nanoseconds | None = None

    @property
    def id(self) -> SpanId:
        """Identity of the request."""
        return self._identity.id

    def open(self, t: Nanoseconds) -> None:
        """Emit that the request is with the upstream; only the first call does."""
        if self._opened:
            return
        self._opened = True
        self._sink.emit(opened(self._identity, t, self._observation.asked(), body_bytes=self.body_bytes))

    def received(self, t: Nanoseconds, chunk: bytes) -> None:
        """Let the observer hear a part of the answer that the client has been sent."""
        content = self._observation.response_body(t, chunk)
        if content <= 0:
            return
        self.response_bytes += content
        if self._streamed is None:
            self._streamed = self._observation.streamed()
            self._flushed = t
            self._sink.emit(SpanFirstByte(self._identity.id, t))
        if self._streamed:
            chunks = self._chunks
            if chunks is None:
                chunks = self._chunks = array("q")
            chunks.append(t)
            chunks.append(content)
            if len(chunks) >= 2 * MOST_CHUNKS or t - self._flushed >= LONGEST:
                self.flush(t)

    def check(self, now: Nanoseconds) -> None:
        """Emit chunks that have waited long enough."""
        if self.due(now):
            self.flush(now)

    def due(self, now: Nanoseconds) -> bool:
        """Whether chunks have waited long enough."""
        return self._chunks is not None and now - self._flushed >= LONGEST

    def flush(self, t: Nanoseconds) -> None:
        """Emit the chunks since the last time."""
        self._flushed = t
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            times = cast(list[Nanoseconds], chunks[::2].tolist())
            self._sink.emit(SpanChunks(self._identity.id, times, chunks[1::2].tolist()))

    def close(self, t: Nanoseconds, ending: Ending) -> None:
        """Emit that the request is over; only the first call does."""
        if not self.closed:
            self.depart(t, ending)(t, ending.outcome)

    def depart(self, t: Nanoseconds, ending: Ending) -> CloseSpan:
        """Hear no more, and return what tells that the request is over: its server may still be at work."""
        if not self._opened:
            self.open(t)
        self.closed = True
        self.flush(t)
        observation = self._observation
        observation.response_end(complete=ending.phase is Phase.DONE)
        if self.ear:
            self.ear.tell(t, observation.jobs())
            self.ear.end(t, ending.outcome)
        return partial(self._tell, ending)

    def _tell(self, ending: Ending, t: Nanoseconds, outcome: Outcome) -> None:
        account = self._observation.account()
        self._sink.emit(
            SpanClosed(
                id=self._identity.id,
                t=t,
                outcome=outcome,
                status=ending.status,
                phase=ending.phase,
                streamed=account.streamed,
                facts=account.facts,
                timings=account.timings,
                model=account.model,
                response_bytes=self.response_bytes,
                client_left=ending.client_left,
                parse_failed=self._observation.failed,
                overhead_request=self.overhead_request,
                overhead_response=self.overhead_response,
            )
        )
