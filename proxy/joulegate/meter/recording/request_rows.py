"""One request of a recording, from its events to its rows. Pure."""

from joulegate.model import (
    Asked,
    Fact,
    JobState,
    Outcome,
    ServerTimings,
    SpanChunks,
    SpanClosed,
    SpanFirstByte,
    SpanJob,
    SpanOpened,
    TaskFacts,
)
from joulegate.model.settlement import LARGEST_COUNT
from joulegate.replay.rows import (
    End,
    FirstByte,
    JobAccepted,
    JobDone,
    JobRunning,
    Start,
    TimingsRow,
    TraceRow,
    UsageRow,
    sample_time,
    trace_time,
)
from joulegate.replay.traces import CLIENT_LEFT
from joulegate.units import Nanoseconds, seconds

LEFT = {Outcome.CANCELLED, Outcome.OVERRAN, Outcome.CLIENT_TIMEOUT, Outcome.ORPHANED}
"""Ends without anybody to answer: what the format calls 499."""
USUAL_STATUS = {Outcome.OK: 200, Outcome.CLIENT_ERROR: 400}
BAD_GATEWAY = 502


class RequestRow:
    """What is known of a request that has not ended. Times are nanoseconds since the recording began."""

    def __init__(self, opened: SpanOpened, origin: Nanoseconds, *, is_answered: bool) -> None:
        self.opened = opened
        self._origin = origin
        self._start = max(opened.t - origin, 0)
        self._is_answered = is_answered
        """Its answer began before the recording: its prompt and its counts are of a time before."""
        self._newest = self._start
        self._first_byte: int | None = self._start if is_answered else None
        self._accepted: int | None = None
        self._running: int | None = None
        self._chunk_t: list[float] = []
        self._chunk_b: list[int] = []
        self._has_chunks = False
        self._last_chunk = -1

    @property
    def is_clipped(self) -> bool:
        """A part of it was over when the recording began."""
        return self._is_answered or self.opened.t < self._origin

    @property
    def held(self) -> int:
        """Chunks that are kept."""
        return len(self._chunk_t)

    def take(self, event: SpanFirstByte | SpanChunks | SpanJob, until: Nanoseconds) -> int:
        """Accept what happened until an instant; return how many more chunks are kept."""
        match event:
            case SpanChunks():
                return self._take_chunks(event, until - self._origin)
            case _ if event.t > until:
                return 0
            case SpanFirstByte(t=t) if self._first_byte is None:
                self._first_byte = self._later(t)
            case SpanJob(t=t, state=JobState.ACCEPTED) if self._accepted is None:
                self._accepted = self._later(t)
            case SpanJob(t=t, state=JobState.RUNNING) if self._running is None:
                self._running = self._later(t)
            case _:
                pass
        return 0

    def rows(self, closed: SpanClosed | None) -> list[TraceRow]:
        """Return its rows in the order of time; without an end row if it has not ended."""
        found: list[TraceRow] = [self._started(closed.facts if closed else TaskFacts())]
        key = self.opened.id
        if not self._is_job:
            if self._first_byte is not None:
                found.append(FirstByte(trace_time(self._first_byte), key))
        else:
            if self._accepted is not None:
                found.append(JobAccepted(trace_time(self._accepted), key))
            if self._running is not None:
                found.append(JobRunning(trace_time(self._running), key))
        if closed is not None:
            found.append(self._ended(closed))
        return found

    @property
    def _is_job(self) -> bool:
        return self._accepted is not None or self._running is not None

    def _take_chunks(self, event: SpanChunks, until: int) -> int:
        self._has_chunks = True
        before, known = len(self._chunk_t), self._last_chunk
        for t, size in zip(event.times, event.sizes, strict=False):
            at = t - self._origin
            if at > known and 0 <= at <= until:  # the same event may come twice
                self._last_chunk = max(at, self._last_chunk, self._start)
                self._chunk_t.append(sample_time(self._last_chunk))
                self._chunk_b.append(max(size, 0))
        self._newest = max(self._newest, self._last_chunk)
        return len(self._chunk_t) - before

    def _later(self, t: Nanoseconds) -> int:
        """Return a time that is not before the start; the end comes after all of them."""
        at = max(t - self._origin, self._start)
        self._newest = max(self._newest, at)
        return at

    def _started(self, facts: TaskFacts) -> Start:
        opened, asked = self.opened, self.opened.asked
        draws = is_image(asked, facts)
        return Start(
            t=trace_time(self._start),
            id=opened.id,
            upstream=opened.upstream,
            task=opened.task.value,
            # Its prompt was worked on before the recording: what is left has none.
            body_bytes=0 if self._is_answered else _size(opened.body_bytes),
            stream=bool(asked.stream),
            max_tokens=_given(asked.max_tokens),
            width=_given(asked.width) if draws else None,
            height=_given(asked.height) if draws else None,
            steps=(_given(asked.steps) or _known(facts.steps)) if draws else None,
            n=(_given(asked.images) or _known(facts.images)) if draws else None,
            is_job=self._is_job,
            clipped=self.is_clipped,
        )

    def _ended(self, closed: SpanClosed) -> End:
        t = max(closed.t - self._origin, self._newest)
        streamed = closed.streamed or self._has_chunks
        left = None if closed.client_left is None else max(closed.client_left - self._origin, 0)
        return (JobDone if self._is_job else End)(
            t=trace_time(t),
            id=closed.id,
            status=_status(closed),
            usage=None if self._is_answered else _usage(closed.facts),
            resp_bytes=sum(self._chunk_b) if streamed else _whole_size(closed),
            chunk_t=self._chunk_t if streamed else None,
            chunk_b=self._chunk_b if streamed else None,
            outcome=closed.outcome.value,
            client_left=None if left is None or left >= t else trace_time(left),
            pixels=_known(closed.facts.pixels),
            timings=None if self._is_answered else _timings(closed.timings),
        )


def is_image(asked: Asked, facts: TaskFacts) -> bool:
    """Whether a request is image work, by its own facts."""
    return bool(asked.width or asked.steps or facts.pixels or facts.images or facts.steps)


def _status(closed: SpanClosed) -> int:
    """Return the status that tells the end best: an answer that broke off is no 200."""
    if closed.outcome in LEFT:
        return CLIENT_LEFT
    usual = USUAL_STATUS.get(closed.outcome, BAD_GATEWAY)
    given = closed.status or usual
    return given if given // 100 == usual // 100 or closed.outcome is Outcome.OK else usual


def _whole_size(closed: SpanClosed) -> int:
    return 0 if closed.outcome in LEFT else _size(closed.response_bytes)


def _usage(facts: TaskFacts) -> UsageRow | None:
    prompt, completion = _known(facts.prompt_tokens), _known(facts.completion_tokens)
    if prompt is None or completion is None:
        return None
    return UsageRow(prompt, completion, _known(facts.cached_prompt_tokens) or None)


def _timings(timings: ServerTimings) -> TimingsRow | None:
    given = (timings.queue, timings.load, timings.prefill, timings.decode)
    if all(one is None for one in given):
        return None
    return TimingsRow(*(None if one is None else round(seconds(one), 6) for one in given))


def _known(fact: Fact | None) -> int | None:
    """Return a count; one that cannot be is not known."""
    return fact.value if fact is not None and 0 <= fact.value <= LARGEST_COUNT else None


def _given(number: int | None) -> int | None:
    """Return what was asked for, if it says anything: some servers take -1 for no limit."""
    return number if number is not None and 0 < number <= LARGEST_COUNT else None


def _size(number: int) -> int:
    return min(max(number, 0), LARGEST_COUNT)
