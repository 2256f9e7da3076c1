"""What a gate keeps until the meter has settled it: bounded, so that no outage can eat the memory."""

from collections import OrderedDict
from collections.abc import Iterable

from msgspec import Struct

from joulegate.channel.frames import FrameError, Whole, pack_event
from joulegate.model import JobNote, SpanChunks, SpanClosed, SpanEvent, SpanId, SpanOpened

PER_EVENT = 250
"""Bytes to keep one event beside its own: 248 measured over whole requests (tracemalloc, CPython 3.11)."""


class Bounds(Struct, frozen=True):
    """How much a gate keeps."""

    size: int = 64 << 20
    """Bytes."""
    spans: int = 100_000


class Retained:
    """Events in the order of their sequence numbers, by span; sequence numbers begin at 1.

    ``add`` never raises and never goes beyond the bounds. Room is made by giving up first the oldest
    closed span, then the oldest ``SpanChunks`` (they refine a figure, they do not decide it), at last the
    new event. What the meter had already is merely ``forgotten``; anything else is ``dropped``.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.dropped = 0
        """Events that the meter will never see."""
        self.forgotten = 0
        """Events that a meter had and that a later one could not get again."""
        self._bounds = bounds
        self._size = 0
        self._handed = 0
        self._last = 0
        self._events: dict[int, tuple[SpanId, bytes]] = {}
        self._spans: dict[SpanId, list[int]] = {}
        # Ordered: a plain dict that is emptied from its front scans over what was there.
        self._closed: OrderedDict[SpanId, None] = OrderedDict()
        self._chunks: OrderedDict[int, None] = OrderedDict()

    def add(self, event: SpanEvent | Whole) -> int | None:
        """Keep an event; return its sequence number, or ``None`` if it had to be dropped."""
        try:
            packed = pack_event(event)
        except (FrameError, TypeError, ValueError):
            self.dropped += 1
            return None
        span = self._span_of(event)
        if span is None:
            self.dropped += 1
            return None
        self._last += 1
        self._put(event, span, packed)
        if self._size > self._bounds.size or len(self._spans) > self._bounds.spans:
            self._make_room()
        return self._last if self._last in self._events else None

    def get(self, sequence: int) -> bytes | None:
        """Return a kept event as MessagePack, or ``None`` if it is gone."""
        entry = self._events.get(sequence)
        return entry[1] if entry else None

    def sequences(self) -> list[int]:
        """Return the sequence numbers of all kept events, in order."""
        return list(self._events)

    def handed_over(self, sequence: int) -> None:
        """Notify that a meter was sent everything up to this sequence number."""
        self._handed = max(self._handed, sequence)

    def settle(self, ids: Iterable[SpanId]) -> None:
        """Let go of spans that are settled; unknown ones are ignored."""
        for id_ in ids:
            self._remove(id_)

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    @property
    def spans(self) -> int:
        """Spans kept."""
        return len(self._spans)

    @property
    def full(self) -> bool:
        """More than half of a bound is in use."""
        return self._size > self._bounds.size // 2 or len(self._spans) > self._bounds.spans // 2

    def _span_of(self, event: SpanEvent | Whole) -> list[int] | None:
        """Return the span of an event. One that was given up takes no more: a part of it would mislead.

        What a gate heard of a job that it did not submit is a span of its own.
        """
        if isinstance(event, SpanOpened | Whole) or (isinstance(event, JobNote) and not event.own):
            return self._spans.setdefault(event.id, [])
        return self._spans.get(event.id)

    def _put(self, event: SpanEvent | Whole, span: list[int], packed: bytes) -> None:
        self._events[self._last] = (event.id, packed)
        self._size += len(packed) + PER_EVENT
        span.append(self._last)
        if isinstance(event, SpanClosed | Whole) or (isinstance(event, JobNote) and not event.own):
            self._closed[event.id] = None
        if isinstance(event, SpanChunks):
            self._chunks[self._last] = None

    def _make_room(self) -> None:
        while self._size > self._bounds.size or len(self._spans) > self._bounds.spans:
            self._give_up_one()

    def _give_up_one(self) -> None:
        newest, _ = self._events[self._last]
        oldest = next(iter(self._closed), newest)
        if oldest != newest:
            self._give_up_span(oldest)
        elif len(self._spans) > self._bounds.spans:
            self._give_up_span(newest)
        elif self._chunks:
            self._give_up(next(iter(self._chunks)))
        elif newest in self._closed or len(self._spans[newest]) == 1:
            self._give_up_span(newest)
        else:
            self._give_up(self._last)

    def _give_up_span(self, id_: SpanId) -> None:
        for sequence in self._spans[id_]:
            self._count(sequence)
        self._remove(id_)

    def _give_up(self, sequence: int) -> None:
        self._count(sequence)
        self._spans[self._events[sequence][0]].remove(sequence)
        self._pop(sequence)

    def _count(self, sequence: int) -> None:
        if sequence <= self._handed:
            self.forgotten += 1
        else:
            self.dropped += 1

    def _remove(self, id_: SpanId) -> None:
        span = self._spans.pop(id_, [])
        self._closed.pop(id_, None)
        for sequence in span:
            self._pop(sequence)

    def _pop(self, sequence: int) -> None:
        _, packed = self._events.pop(sequence)
        self._chunks.pop(sequence, None)
        self._size -= len(packed) + PER_EVENT
