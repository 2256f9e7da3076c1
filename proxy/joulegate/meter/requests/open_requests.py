"""The one store of the requests under way: what their gates reported, each event counted once. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from joulegate.model import (
    Outcome,
    Phase,
    Settled,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
)
from joulegate.units import Nanoseconds

MAX_OPEN = 200_000
"""Requests without a record; beyond it the oldest is given up."""
MAX_REMEMBERED = 100_000
"""Settled requests that are recognised without asking the ledger."""
MAX_EARLY = 1_000
"""Events of one request that wait for its beginning; later ones are dropped."""


class OpenRequest(Struct, gc=False):
    """One request without a record, as far as it is known."""

    id: SpanId
    gate: str
    """The gate that reports it, and keeps its events until its record is on disk."""
    opened: SpanOpened | None = None
    first_byte: Nanoseconds | None = None
    closed: SpanClosed | None = None
    settled: Settled | None = None
    """Its latest figure; a final one stays."""
    is_job: bool = False
    """Its server works on it after the answer: the end of its gate is not its own."""
    early: tuple[SpanEvent, ...] = ()
    """Events that came before its beginning."""

    def add(self, event: SpanEvent) -> bool:
        """Record an event; return whether it counts: the first of its kind, before the final figure."""
        if self.settled is not None and self.settled.final:
            return False
        match event:
            case SpanOpened():
                if self.opened is not None:
                    return False
                self.opened = event
            case SpanClosed():
                if self.closed is not None:
                    return False
                self.closed = event
                self.first_byte = self.first_byte or event.first_byte
            case SpanFirstByte():
                if self.first_byte is not None:
                    return False
                self.first_byte = event.t
            case SpanJob():
                self.is_job = True
            case _:
                pass
        return True

    def settle(self, settled: Settled) -> bool:
        """Record a figure unless there is a final one; return whether this is the final one."""
        if self.settled is not None and self.settled.final:
            return False
        self.settled = settled
        return settled.final


class OpenRequests:
    """Decides which events count, and knows which gate waits for the record of which request.

    ``in_ledger`` says whether the record of a request is on disk, also by an earlier meter. It is not asked
    for a request that was opened after ``began``, when this meter began and took the ledger. ``None``: it is
    asked for every one.
    """

    def __init__(
        self, in_ledger: Callable[[SpanId], bool], *, began: Nanoseconds | None = None, room: int = MAX_OPEN
    ) -> None:
        self.given_up = 0
        """Requests that were given up for want of room."""
        self._in_ledger = in_ledger
        self._began = began
        self._room = room
        self._open: OrderedDict[SpanId, OpenRequest] = OrderedDict()
        self._unwritten: dict[SpanId, str] = {}
        """The gates of those whose record is not on disk yet."""
        self._written: OrderedDict[SpanId, None] = OrderedDict()

    def __iter__(self) -> Iterator[OpenRequest]:
        return iter(self._open.values())

    def __reversed__(self) -> Iterator[OpenRequest]:
        return reversed(self._open.values())

    def get(self, id_: SpanId) -> OpenRequest | None:
        """Return a request unless it has its record."""
        return self._open.get(id_)

    def add(self, gate: str, event: SpanEvent, earliest: Nanoseconds | None = None) -> Sequence[SpanEvent]:
        """Record an event; return those that count from now on, the beginning of each request first.

        ``earliest`` is when the request may have begun, if the time of a beginning is not exact.
        """
        request = self._open.get(event.id)
        given_up: Sequence[SpanEvent] = ()
        if request is None:
            if not self._is_new(event, earliest):
                return ()
            request = self._open[event.id] = OpenRequest(event.id, gate)
            if len(self._open) > self._room:
                given_up = self._give_up_oldest()
        if not request.add(event):
            return given_up
        if request.opened is None:
            if len(request.early) < MAX_EARLY:
                request.early = (*request.early, event)
            return given_up
        if request.early or given_up:
            early, request.early = request.early, ()
            return (*given_up, event, *early)
        return (event,)

    def is_settled(self, id_: SpanId) -> bool:
        """Whether the record of a request is on disk, so that its gate may forget it."""
        if id_ in self._open or id_ in self._unwritten:
            return False
        if id_ not in self._written:
            if not self._in_ledger(id_):
                return False
            self._remember(id_)
        return True

    def orphans(self, gate: str, t: Nanoseconds) -> list[SpanClosed]:
        """Return the ends of the open requests of a gate that died; jobs go on at their server."""
        mine = [request for request in self._open.values() if request.gate == gate and not request.is_job]
        for request in mine:
            if request.opened is None:  # nobody will report its beginning
                del self._open[request.id]
        return [orphaned(one.opened, t) for one in mine if one.opened is not None and one.closed is None]

    def finish(self, request: OpenRequest) -> None:
        """Record that a request has its record."""
        self._open.pop(request.id, None)
        self._unwritten[request.id] = request.gate

    def written(self, ids: Iterable[SpanId]) -> list[tuple[str, SpanId]]:
        """Record which records are on disk; return each request with the gate that may forget it."""
        found = [(gate, id_) for id_ in ids if (gate := self._unwritten.pop(id_, None)) is not None]
        for _, id_ in found:
            self._remember(id_)
        return found

    def _is_new(self, event: SpanEvent, earliest: Nanoseconds | None) -> bool:
        if event.id in self._unwritten or event.id in self._written:
            return False
        if isinstance(event, SpanOpened) and self._began is not None:
            began = event.t if earliest is None else earliest
            return began >= self._began or not self.is_settled(event.id)
        return not self.is_settled(event.id)

    def _give_up_oldest(self) -> Sequence[SpanEvent]:
        """Forget the oldest request; return the end that attribution is still to hear of."""
        _, lost = self._open.popitem(last=False)
        self.given_up += 1
        self._remember(lost.id)
        if lost.opened is None or lost.closed is not None:
            return ()
        return (orphaned(lost.opened, lost.opened.t),)

    def _remember(self, id_: SpanId) -> None:
        self._written[id_] = None
        if len(self._written) > MAX_REMEMBERED:
            self._written.popitem(last=False)


def orphaned(opened: SpanOpened, t: Nanoseconds) -> SpanClosed:
    """Return the end of a request that nobody reports any more."""
    return SpanClosed(id=opened.id, t=max(t, opened.t), outcome=Outcome.ORPHANED, phase=Phase.RESPONSE)
