"""Joins the events of gates with the figures of attribution: events and readings in, records and books out.

A final figure becomes a record when the books of its devices have passed the request's end, so that
records and books that are written together always belong together. Pure: clocks are arguments.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from joulegate.ledger.rows import StoredReading
from joulegate.meter.requests.booking_cursor import PATIENCE, BookingCursor
from joulegate.meter.requests.job_joiner import JobJoiner, Joined
from joulegate.meter.requests.open_requests import OpenRequest, OpenRequests
from joulegate.meter.requests.record_writer import RecordWriter
from joulegate.model import (
    DeviceId,
    DeviceLoad,
    EnergySample,
    JobNote,
    RequestRecord,
    Settled,
    SourceFailure,
    SpanEvent,
    SpanId,
    WindowBooks,
)
from joulegate.ports import Attributor
from joulegate.units import Nanoseconds


class Settlements(Struct, frozen=True):
    """What one step brought."""

    records: tuple[RequestRecord, ...] = ()
    """Final ones, each once."""
    books: tuple[WindowBooks, ...] = ()
    readings: tuple[StoredReading, ...] = ()
    unbalanced: tuple[WindowBooks, ...] = ()
    """Those of the books that do not add up: a fault of attribution."""


class InputListener(Protocol):
    """Is given all that goes into attribution, just before it does. None of the methods raises."""

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Record one reading."""
        ...

    def load(self, load: DeviceLoad) -> None:
        """Record a report on processes."""
        ...

    def event(self, event: SpanEvent) -> None:
        """Record one event that counts."""
        ...

    def stopped(self, now: Nanoseconds) -> None:
        """Record that nothing follows."""
        ...


class Settlement:
    """Passes on to attribution what counts, and turns its final figures into records."""

    def __init__(
        self, attributor: Attributor, writer: RecordWriter, requests: OpenRequests, *, boot: str
    ) -> None:
        self.requests = requests
        self.last_readings: dict[DeviceId, EnergySample] = {}
        """The last good reading of each device."""
        self.listeners: list[InputListener] = []
        self._attributor = attributor
        self._writer = writer
        self._positions = BookingCursor(boot)
        self._final: list[OpenRequest] = []
        """Those with a final figure, whose books are not complete yet."""
        self._jobs = JobJoiner()
        self._offset = 0

    @property
    def pending(self) -> int:
        """Requests that ended and have no record yet."""
        return sum(one.opened is not None and one.closed is not None for one in self.requests)

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Accept a reading."""
        if isinstance(sample, EnergySample):
            self.last_readings[sample.device] = sample
        for listener in self.listeners:
            listener.sample(sample)
        self._positions.sample(sample)
        self._attributor.sample(sample)

    def load(self, load: DeviceLoad) -> None:
        """Accept a report on the processes that use a device."""
        for listener in self.listeners:
            listener.load(load)
        self._attributor.load(load)

    def event(self, gate: str, event: SpanEvent, earliest: Nanoseconds | None = None) -> bool:
        """Accept an event; return whether its request has its record on disk already.

        An event that came before, or belongs to a request with a record, changes nothing. ``earliest`` is
        when the request may have begun, if the event's time is not exact.
        """
        if isinstance(event, JobNote) or event.id in self._jobs:
            if isinstance(event, JobNote) and event.own and self.requests.is_settled(event.id):
                return True
            self._add_all(self._jobs.event(gate, event))
            return False
        return not self._add(gate, event, earliest) and self.requests.is_settled(event.id)

    def _add_all(self, events: Iterable[Joined]) -> None:
        for gate, event in events:
            self._add(gate, event)

    def _add(self, gate: str, event: SpanEvent, earliest: Nanoseconds | None = None) -> bool:
        """Pass on what counts because of an event; return whether anything does."""
        counted = self.requests.add(gate, event, earliest)
        for one in counted:
            for listener in self.listeners:
                listener.event(one)
            self._attributor.event(one)
        return bool(counted)

    def gate_lost(self, gate: str, t: Nanoseconds) -> None:
        """End the open requests of a gate that died: nobody else will. Jobs go on at their server."""
        self._add_all(self._jobs.gate_lost(gate, t))
        for closed in self.requests.orphans(gate, t):
            self.event(gate, closed)

    def advance(self, now: Nanoseconds, wall: Nanoseconds) -> Settlements:
        """Settle what is due."""
        self._offset = wall - now
        self._add_all(self._jobs.advance(now))
        settled, books = self._attributor.advance(now)
        self._take(settled)
        return self._settlements(self._positions.book(books, now), now)

    def drain(self, now: Nanoseconds, wall: Nanoseconds) -> Settlements:
        """Settle everything, because no more readings will come."""
        self._offset = wall - now
        for listener in self.listeners:
            listener.stopped(now)
        settled, books = self._attributor.drain(now)
        self._take(settled)
        booked = [*self._positions.book(books, now), *self._positions.drain()]
        return self._settlements(booked, Nanoseconds(now + 2 * PATIENCE))

    def abandon_jobs(self, gates: int) -> None:
        """End all jobs where they were last heard of, if no gate is left that could tell of them."""
        if not gates:
            self._add_all(self._jobs.abandon())

    def written(self, ids: Sequence[SpanId]) -> dict[str, list[SpanId]]:
        """Record which requests are on disk; return what each gate may forget now."""
        self._jobs.settled(ids)
        by_gate: dict[str, list[SpanId]] = {}
        for gate, id_ in (*self.requests.written(ids), *self._jobs.freed()):
            by_gate.setdefault(gate, []).append(id_)
        return by_gate

    def find(self, id_: str) -> RequestRecord | None:
        """Return a request without a record yet, by its own, its client's or the job's id."""
        for request in reversed(self.requests):
            job = request.closed.job if request.closed else None
            if request.opened and id_ in (request.id, request.opened.client_request_id, job):
                return self._writer.record(request, self._offset)
        return None

    def _take(self, settled: Sequence[Settled]) -> None:
        for figure in settled:
            request = self.requests.get(figure.id)
            if request is not None and request.settle(figure):
                self._final.append(request)

    def _settlements(self, books: Sequence[WindowBooks], now: Nanoseconds) -> Settlements:
        return Settlements(
            records=tuple(self._records(now)),
            books=tuple(books),
            readings=self._positions.readings() if books else (),
            unbalanced=tuple(window for window in books if window.error()),
        )

    def _records(self, now: Nanoseconds) -> list[RequestRecord]:
        booked = self._positions.reached_by_all()
        records: list[RequestRecord] = []
        waiting: list[OpenRequest] = []
        for request in self._final:
            record = self._finished(request) if self._is_booked(request, booked, now) else None
            if record is None:
                waiting.append(request)
            else:
                records.append(record)
        self._final = waiting
        return records

    def _is_booked(self, request: OpenRequest, booked: Nanoseconds, now: Nanoseconds) -> bool:
        if request.closed is None or request.settled is None:
            return False
        if request.closed.t <= booked:
            return True
        devices: list[DeviceId] = [part.device for part in request.settled.by_device]
        return self._positions.reached(devices, request.closed.t) or now - request.closed.t > PATIENCE

    def _finished(self, request: OpenRequest) -> RequestRecord | None:
        record = self._writer.record(request, self._offset)
        if record is not None:
            self.requests.finish(request)
        return record
