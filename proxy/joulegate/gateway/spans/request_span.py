"""The events of one request: opened once, closed once, whatever happens."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from joulegate.gateway.http.pool import Pool
from joulegate.gateway.policy.task_rules import TaskRule, task_of
from joulegate.gateway.spans.observation import Observation
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


def opened(
    identity: Identity,
    t: Nanoseconds,
    asked: Asked,
    *,
    body_bytes: int = 0,
    task: Task | None = None,
    work: WorkClass | None = None,
    replica: str = "",
) -> SpanOpened:
    """Return how a request began; task and work are the route's unless something says better."""
    route = identity.route
    if asked.model is None and identity.model is not None:
        asked = replace(asked, model=identity.model)
    work, task = work or asked.work or route.work, task or asked.task or route.task
    if work is WorkClass.INFERENCE:
        ruled = task_of(identity.tasks, asked.model) if identity.tasks else None
        task = ruled or identity.task or task
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
        replica=replica,
    )


CloseSpan = Callable[[Nanoseconds, Outcome], None]
"""Tells when, and how, a request really ended whose client had left before."""


class JobSink(Protocol):
    """Who hears what an exchange learnt of jobs."""

    def tell(self, t: Nanoseconds, signs: Iterable[JobSign]) -> None:
        """Tell the meter."""
        ...

    def moved(self, pool: Pool) -> None:
        """Record that another server got the request, before it was sent."""
        ...

    def end(self, t: Nanoseconds, outcome: Outcome) -> None:
        """Notify that the exchange is over."""
        ...


class RequestSpan:
    """Tells the sink of one request."""

    __slots__ = (
        "_flushed", "_identity", "_sink", "_sizes", "_times", "_untold", "body_bytes", "client_left",
        "closed", "ear", "observation", "opened", "overhead_request", "overhead_response", "replica",
        "response_bytes", "streamed",
    )  # fmt: skip

    def __init__(
        self, sink: EventSink, identity: Identity, observation: Observation, ear: JobSink | None = None
    ) -> None:
        self._sink = sink
        self._identity = identity
        self.observation = observation
        self.ear = ear
        """Who hears what the exchange learns of jobs."""
        self.opened = False
        self.closed = False
        """The request is over."""
        self.streamed: bool | None = None
        """Whether each chunk is told; ``None`` until there is content."""
        self._untold: Nanoseconds | None = None
        """When the first content came, as long as no event says it."""
        self._flushed = Nanoseconds(0)
        self._times: array[int] | None = None
        self._sizes: array[int] | None = None
        """Of the chunks since the last event: 16 bytes each, not 96."""
        self.replica = ""
        """Which server has the request, if the upstream has several."""
        self.body_bytes = 0
        self.response_bytes = 0
        self.client_left: Nanoseconds | None = None
        self.overhead_request: Nanoseconds | None = None
        self.overhead_response: Nanoseconds | None = None

    @property
    def id(self) -> SpanId:
        """Identity of the request."""
        return self._identity.id

    def moved(self, replica: str, pool: Pool) -> None:
        """Record that another server gets the request than the one that was chosen at first."""
        self.replica = replica
        if self.ear is not None:
            self.ear.moved(pool)

    def open(self, t: Nanoseconds) -> None:
        """Emit that the request is with the upstream; only the first call does."""
        if not self.opened:
            self.opened = True
            asked = self.observation.known or self.observation.asked()
            self._sink.emit(
                opened(self._identity, t, asked, body_bytes=self.body_bytes, replica=self.replica)
            )

    def received(self, times: Sequence[Nanoseconds], parts: Sequence[bytes]) -> None:
        """Let the observer hear parts of the answer that the client has been sent."""
        sizes = self.observation.response_parts(times, parts)
        if min(sizes) <= 0:
            told = [(t, size) for t, size in zip(times, sizes, strict=True) if size > 0]
            times, sizes = [t for t, _ in told], [size for _, size in told]
            if not told:
                return
        self.response_bytes += sum(sizes)
        if self.streamed is None:
            # Of an answer that is no stream its end may tell the first content as well.
            self.streamed = self.observation.streamed()
            self._flushed = self._untold = times[0]
            if self.streamed:
                self._tell_first()
        if self.streamed:
            self._keep(times, sizes)

    def _keep(self, times: Sequence[Nanoseconds], sizes: Sequence[int]) -> None:
        """Keep chunks for their event."""
        if self._times is None or self._sizes is None or len(self._times) + len(times) > MOST_CHUNKS:
            self.flush(self._flushed)
            self._times, self._sizes = array("q"), array("q")
        self._times.extend(times)
        self._sizes.extend(sizes)
        last = times[-1]
        if last - self._flushed >= LONGEST or len(self._times) >= MOST_CHUNKS:
            self.flush(last)

    def check(self, now: Nanoseconds) -> None:
        """Emit what has waited long enough."""
        self._tell_first()
        if self.due(now):
            self.flush(now)

    def due(self, now: Nanoseconds) -> bool:
        """Whether chunks have waited long enough."""
        return self._times is not None and now - self._flushed >= LONGEST

    def flush(self, t: Nanoseconds) -> None:
        """Emit the chunks since the last time."""
        self._flushed = t
        times, sizes, self._times, self._sizes = self._times, self._sizes, None, None
        if times is not None and sizes is not None:
            told = cast(list[Nanoseconds], times.tolist())
            self._sink.emit(SpanChunks(self._identity.id, told, sizes.tolist()))

    def close(self, t: Nanoseconds, outcome: Outcome, phase: Phase, status: int | None) -> None:
        """Emit that the request is over; only the first call does."""
        if not self.closed:
            self._stop(t, outcome, phase)
            self._tell(phase, status, t, outcome)

    def depart(self, t: Nanoseconds, outcome: Outcome, phase: Phase, status: int | None) -> CloseSpan:
        """Hear no more, and return what tells that the request is over: its server may still be at work."""
        self._stop(t, outcome, phase)
        self._tell_first()
        return partial(self._tell, phase, status)

    # --- inside ----------------------------------------------------------------------------------------

    def _tell_first(self) -> None:
        t, self._untold = self._untold, None
        if t is not None:
            self._sink.emit(SpanFirstByte(self._identity.id, t))

    def _stop(self, t: Nanoseconds, outcome: Outcome, phase: Phase) -> None:
        """Hear no more."""
        if not self.opened:
            self.open(t)
        self.closed = True
        if self._times is not None:
            self.flush(t)
        self.observation.response_end(complete=phase is Phase.DONE)
        if self.ear:
            self.ear.tell(t, self.observation.jobs())
            self.ear.end(t, outcome)

    def _tell(self, phase: Phase, status: int | None, t: Nanoseconds, outcome: Outcome) -> None:
        observation = self.observation
        account = observation.account()
        self._sink.emit(
            SpanClosed(
                id=self._identity.id,
                t=t,
                outcome=outcome,
                status=status,
                phase=phase,
                streamed=account.streamed,
                facts=account.facts,
                timings=account.timings,
                model=account.model,
                response_bytes=self.response_bytes,
                client_left=self.client_left,
                parse_failed=observation.failed,
                overhead_request=self.overhead_request,
                overhead_response=self.overhead_response,
                first_byte=self._untold,
            )
        )
