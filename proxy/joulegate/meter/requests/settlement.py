"""Joins what gates tell with what attribution finds: span events and readings in, records and books out.

A final figure becomes a record when the books of its devices have passed the request's end, so that
records and books that are written together always belong together. Pure: clocks are arguments.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from joulegate.ledger.rows import StoredReading
from joulegate.meter.requests.booking_cursor import PATIENCE, BookingCursor
from joulegate.meter.requests.job_joiner import JobJoiner, Joined
from joulegate.meter.requests.record_writer import OpenRequest, RecordWriter, orphaned
from joulegate.model import (
    DeviceId,
    EnergySample,
    JobNote,
    RequestRecord,
    Settled,
    SourceFailure,
    SpanEvent,
    SpanId,
    SpanOpened,
    WindowBooks,
)
from joulegate.ports import Attributor
from joulegate.units import Nanoseconds

REMEMBERED = 100_000
"""Settled requests whose repeated events are recognised without asking the ledger."""
OPEN = 200_000
"""Requests that are not settled; beyond it the oldest is given up."""


class Settlements(Struct, frozen=True):
    """What one step brought."""

    records: tuple[RequestRecord, ...] = ()
    """Final ones, each once."""
    books: tuple[WindowBooks, ...] = ()
    readings: tuple[StoredReading, ...] = ()
    unbalanced: tuple[WindowBooks, ...] = ()
    """Those of the books that do not add up: a fault of attribution."""


class Settlement:
    """Keeps the requests that are not settled yet.

    ``settled_before`` asks the ledger; for requests that were opened after ``began``, when this meter began
    and took the ledger, there is no need to ask it. Those that this meter settled are not sent again.
    """

    def __init__(
        self,
        attributor: Attributor,
        writer: RecordWriter,
        *,
        boot: str,
        settled_before: Callable[[SpanId], bool],
        began: Nanoseconds | None = None,
    ) -> None:
        self._attributor = attributor
        self._writer = writer
        self._positions = BookingCursor(boot)
        self._settled_before = settled_before
        self._began = began
        self._spans: OrderedDict[SpanId, OpenRequest] = OrderedDict()
        self._done: OrderedDict[SpanId, None] = OrderedDict()
        self._final: dict[SpanId, OpenRequest] = {}
        self._jobs = JobJoiner()
        self._offset = 0
        self.given_up = 0
        """Requests that were given up for want of room."""

    @property
    def pending(self) -> int:
        """Requests that ended and have no record yet."""
        return sum(span.opened is not None and span.closed is not None for span in self._spans.values())

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Accept a reading."""
        self._positions.sample(sample)
        self._attributor.sample(sample)

    def event(self, gate: str, event: SpanEvent) -> None:
        """Accept an event; those of a request that is settled change nothing, however often they come."""
        if isinstance(event, JobNote) or event.id in self._jobs:
            self._join(self._jobs.event(gate, event))
        else:
            self._take_event(gate, event)

    def _join(self, events: Iterable[Joined]) -> None:
        for gate, event in events:
            self._take_event(gate, event)

    def _take_event(self, gate: str, event: SpanEvent) -> None:
        span = self._spans.get(event.id)
        if span is None:
            if event.id in self._done or (not self._begins(event) and self._settled_before(event.id)):
                return
            span = self._begin(event.id, gate)
        span.gate = gate
        span.take(event)
        self._attributor.event(event)

    def opened(self, id_: SpanId) -> SpanOpened | None:
        """Return how a request that is not settled began."""
        span = self._spans.get(id_)
        return span.opened if span else None

    def gate_lost(self, gate: str, t: Nanoseconds) -> None:
        """End the open requests of a gate that died: nobody else will. Jobs go on at their server."""
        self._join(self._jobs.gate_lost(gate, t))
        for closed in orphaned(iter(self._spans.values()), gate, t):
            self.event(gate, closed)

    def advance(self, now: Nanoseconds, wall: Nanoseconds) -> Settlements:
        """Settle what is due."""
        self._offset = wall - now
        self._join(self._jobs.advance(now))
        settled, books = self._attributor.advance(now)
        self._take(settled)
        return self._settlements(self._positions.book(books, now), now)

    def drain(self, now: Nanoseconds, wall: Nanoseconds) -> Settlements:
        """Settle everything, because no more readings will come."""
        self._offset = wall - now
        settled, books = self._attributor.drain(now)
        self._take(settled)
        booked = [*self._positions.book(books, now), *self._positions.drain()]
        return self._settlements(booked, Nanoseconds(now + 2 * PATIENCE))

    def abandon_jobs(self, gates: int) -> None:
        """End all jobs where they were last heard of, if no gate is left that could tell of them."""
        if not gates:
            self._join(self._jobs.abandon())

    def recorded(self, ids: Sequence[SpanId]) -> list[SpanId]:
        """Learn which requests are on disk; gates may forget these and what they heard of jobs: give both."""
        self._jobs.settled(ids)
        return [*ids, *self._jobs.freed()]

    def find(self, id_: str) -> RequestRecord | None:
        """Return a request without a record yet, by its own, its client's or the job's id."""
        for span in reversed(self._spans.values()):
            job = span.closed.job if span.closed else None
            if span.opened and id_ in (span.id, span.opened.client_request_id, job):
                return self._writer.record(span, self._offset)
        return None

    def _begins(self, event: SpanEvent) -> bool:
        """Whether a request begins with this event, under this meter."""
        return isinstance(event, SpanOpened) and self._began is not None and event.t >= self._began

    def _begin(self, id_: SpanId, gate: str) -> OpenRequest:
        span = self._spans[id_] = OpenRequest(id_, gate)
        if len(self._spans) > OPEN:
            lost, _ = self._spans.popitem(last=False)
            self._final.pop(lost, None)
            self.given_up += 1
        return span

    def _take(self, settled: Sequence[Settled]) -> None:
        for figure in settled:
            if span := self._spans.get(figure.id):
                span.settle(figure)
                if figure.final:
                    self._final[figure.id] = span

    def _settlements(self, books: Sequence[WindowBooks], now: Nanoseconds) -> Settlements:
        return Settlements(
            records=tuple(self._records(now)),
            books=tuple(books),
            readings=self._positions.readings() if books else (),
            unbalanced=tuple(window for window in books if window.error()),
        )

    def _records(self, now: Nanoseconds) -> list[RequestRecord]:
        booked = self._positions.reached_by_all()
        due = [span for span in self._final.values() if self._is_booked(span, booked, now)]
        return [record for span in due if (record := self._finish(span)) is not None]

    def _is_booked(self, span: OpenRequest, booked: Nanoseconds, now: Nanoseconds) -> bool:
        if span.closed is None or span.settled is None:
            return False
        if span.closed.t <= booked:
            return True
        devices: list[DeviceId] = [part.device for part in span.settled.by_device]
        return self._positions.reached(devices, span.closed.t) or now - span.closed.t > PATIENCE

    def _finish(self, span: OpenRequest) -> RequestRecord | None:
        record = self._writer.record(span, self._offset)
        if record is None:
            return None
        del self._spans[span.id], self._final[span.id]
        self._done[span.id] = None
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        return record
