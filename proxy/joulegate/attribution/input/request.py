"""What is reported of one request, in float seconds after the settler's origin."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from joulegate.attribution.input.rows import (
    CHUNKED,
    ENCODES,
    FINISHED,
    ORPHANED,
    STREAMED,
    UNKNOWN,
    WORKS,
    packed,
)
from joulegate.attribution.input.sanitize import phase, possible
from joulegate.attribution.maths.arrays import Seconds
from joulegate.model import (
    WORKLESS,
    JobState,
    Outcome,
    ServerTimings,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
)
from joulegate.units import NANO, Nanoseconds

NEVER_STARTED = {Outcome.UPSTREAM_REFUSED}
KEPT_CHUNKS, DROPPED_CHUNKS = 16, 1024
"""Chunks of a stream that are always kept, and those that are dropped at once."""
MAX_CHUNK_BYTES = 2**32 - 1
"""Content bytes of one chunk that count."""
NO_TIMES, NO_SIZES = array("d"), array("I")
NO_TIMINGS = ServerTimings()


class WorkKind(StrEnum):
    """Which features describe the work."""

    LLM = "llm"
    IMAGE = "image"


class RequestInput(Struct, eq=False, gc=False):
    """One request as its events describe it. Only events change it; facts are ``None`` until reported.

    A struct holds so many fields in half the room of an object with a dictionary. It is in no cycle.
    """

    opened: SpanOpened
    origin: Nanoseconds
    place: int
    """Order of arrival: the order of ties."""
    id: SpanId = SpanId("")
    start: Seconds = 0.0
    drawn: bool = False
    """It shows signs of images."""
    closed: SpanClosed | None = None
    end: Seconds | None = None
    left: Seconds | None = None
    first_byte: Seconds | None = None
    running: Seconds | None = None
    is_job: bool = False
    times: "array[float]" = NO_TIMES
    """Arrivals of its chunks in s."""
    sizes: "array[int]" = NO_SIZES
    """Their content bytes."""
    seen: int = 0
    """Content bytes that came."""
    first: Seconds | None = None
    """Arrival of the first chunk."""
    gone: int = 0
    """Chunks that nothing needs any more."""
    gone_bytes: int = 0
    """Their content bytes."""
    finished: bool = False
    """The server did the whole work."""
    orphaned: bool = False
    """The gate died while the request was open."""
    impossible_usage: bool = False
    """The server reported counts that cannot be true."""
    prompt_tokens: int | None = None
    """As the server reported them, as far as that can be true; so too the next two."""
    completion_tokens: int | None = None
    cached_tokens: int = 0
    known_row: bytes | None = None

    def __post_init__(self) -> None:
        opened = self.opened
        self.id, self.start = opened.id, self._seconds(opened.t)
        self.drawn = bool(opened.asked.steps or opened.asked.width)

    def take(self, event: SpanEvent) -> None:
        """Record an event of this request: its end comes once, its first byte once."""
        self.known_row = None
        match event:
            case SpanChunks():
                self._take_chunks(event.times, event.sizes)
            case SpanClosed():
                self._close(event)
            case SpanFirstByte() if self.first_byte is None:
                self.first_byte = self._seconds(event.t)
            case SpanJob():
                self._take_job(self._seconds(event.t), event.state)
            case _:
                pass

    def trim(self, before: Seconds) -> None:
        """Let go of chunks that came before an instant, but for the last few; many at once."""
        old = min(bisect_left(self.times, before), len(self.times) - KEPT_CHUNKS)
        if old < DROPPED_CHUNKS:
            return
        self.gone += old
        self.gone_bytes += sum(self.sizes[:old])
        self.times, self.sizes = self.times[old:], self.sizes[old:]

    def row(self) -> bytes:
        """Return the request as a row of numbers, as it is known now."""
        self.known_row = self._packed()
        return self.known_row

    def kind(self, declared: str) -> WorkKind:
        """Return the kind of work: the upstream's, or as the request's own facts show."""
        if declared in (WorkKind.LLM, WorkKind.IMAGE):
            return WorkKind(declared)
        return WorkKind.IMAGE if self.drawn else WorkKind.LLM

    def works(self) -> bool:
        """Whether the request can have caused any work on the device."""
        closed = self.closed
        if self.opened.work_in(closed.facts if closed else None) in WORKLESS:
            return False
        if closed is None:
            return True
        refused = closed.outcome is Outcome.CLIENT_ERROR and not self.times
        return not refused and closed.outcome not in NEVER_STARTED

    @property
    def streamed(self) -> bool:
        """Whether the answer comes in parts."""
        if self.times:
            return True
        if self.closed is not None:
            return self.closed.streamed
        return bool(self.opened.asked.stream)

    @property
    def response_bytes(self) -> int:
        """Return the content bytes of the answer so far."""
        return max(self.closed.response_bytes if self.closed else 0, self.seen)

    def _take_chunks(self, times: Sequence[Nanoseconds], sizes: Sequence[int]) -> None:
        """Append what is newer than the newest: the same event may come twice."""
        if len(times) != len(sizes):
            few = min(len(times), len(sizes))
            times, sizes = times[:few], sizes[:few]
        origin = self.origin
        fresh = [(t - origin) / NANO for t in times]
        newest = self.times[-1] if self.times else -math.inf
        if not fresh or max(fresh[0], fresh[-1]) <= newest:
            return
        if fresh[0] <= newest or min(fresh) < newest:
            known = fresh[0] <= newest
            kept = [at for at, t in enumerate(fresh) if (t > newest if known else t >= newest)]
            fresh, sizes = [fresh[at] for at in kept], [sizes[at] for at in kept]
        if min(sizes) < 0 or max(sizes) > MAX_CHUNK_BYTES:
            sizes = [min(max(size, 0), MAX_CHUNK_BYTES) for size in sizes]
        if not self.times:
            self.times, self.sizes = array("d"), array("I")
        if self.first is None:
            self.first = fresh[0]
        self.times.extend(fresh)
        self.sizes.extend(sizes)
        self.seen += sum(sizes)

    def _take_job(self, t: Seconds, state: JobState) -> None:
        self.is_job = True
        if state is JobState.RUNNING and (self.running is None or t < self.running):
            self.running = t
            self.start = max(self._seconds(self.opened.t), t)  # time before is queue and costs nothing

    def _close(self, event: SpanClosed) -> None:
        self.closed = event
        self.end = max(self._seconds(event.t), self.start)
        self.left = None if event.client_left is None else self._seconds(event.client_left)
        if self.first_byte is None and event.first_byte is not None:
            self.first_byte = self._seconds(event.first_byte)
        self.finished = event.outcome is Outcome.OK
        self.orphaned = event.outcome is Outcome.ORPHANED
        facts = event.facts
        self.drawn = self.drawn or bool(facts.pixels or facts.images or facts.steps)
        reported = (facts.prompt_tokens, facts.completion_tokens, facts.cached_prompt_tokens)
        possible_counts = [possible(fact) for fact in reported]
        self.prompt_tokens, self.completion_tokens, cached = possible_counts
        self.cached_tokens = cached or 0
        self.impossible_usage = possible_counts.count(None) > reported.count(None)

    def _packed(self) -> bytes:
        closed, asked = self.closed, self.opened.asked
        timings = closed.timings if closed else NO_TIMINGS
        prompt, out = self.prompt_tokens, self.completion_tokens
        return packed(
            self.start,
            math.inf if self.end is None else self.end,
            math.inf if self.left is None else self.left,
            self.place,
            self.opened.body_bytes,
            asked.max_tokens or math.inf,
            UNKNOWN if prompt is None else prompt,
            self.cached_tokens,
            UNKNOWN if out is None else out,
            self.response_bytes,
            phase(timings.prefill),
            phase(timings.decode),
            marks=FINISHED * self.finished
            | STREAMED * self.streamed
            | CHUNKED * bool(self.times)
            | WORKS * self.works()
            | ENCODES * (out == 0 and bool(prompt))
            | ORPHANED * self.orphaned,
        )

    def _seconds(self, t: Nanoseconds) -> Seconds:
        return (t - self.origin) / NANO
