"""Joins what all gates hear of a job to the request that submitted it. Pure: clocks are arguments.

The request of a job stays open until the job has ended, although its own exchange took milliseconds: its end
is held back here. Notes come late, twice and in any order, for the submission, a poll of someone else and a
websocket may pass through three gates. What comes out are the events that attribution knows.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from joulegate.meter.requests.job_record import JobRecord, Key
from joulegate.model import JobNote, JobState, Outcome, SpanClosed, SpanEvent, SpanId, SpanJob
from joulegate.units import NANO, Nanoseconds

SILENT = Nanoseconds(3_600 * NANO)
"""A job of which nothing was heard for so long ends where it was last heard of: gates that follow one tell
once a minute that it is still there."""
UNCLAIMED = Nanoseconds(600 * NANO)
"""Notes of a job whose submission nobody saw are forgotten after this."""
MOST = 100_000
"""Jobs that are known; beyond it the one that was silent for longest ends."""

Joined = tuple[str, SpanEvent]
"""An event with the gate whose request it belongs to."""


class JobJoiner:
    """Stands between the gates and settlement."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Key, JobRecord] = OrderedDict()
        """Those under way, the one that was silent for longest first."""
        self._spans: dict[SpanId, JobRecord] = {}
        self._over: OrderedDict[SpanId, JobRecord] = OrderedDict()
        self._past: dict[Key, SpanId] = {}
        self._free: list[tuple[str, SpanId]] = []

    def __contains__(self, id_: object) -> bool:
        """Whether a request is a job that is under way."""
        return id_ in self._spans

    def event(self, gate: str, event: SpanEvent) -> Sequence[Joined]:
        """Accept an event; return what settlement gets in its place."""
        if isinstance(event, JobNote):
            return list(self._note(gate, event))
        job = self._spans.get(event.id)
        if job is None or not isinstance(event, SpanClosed):
            return [(gate, event)]
        job.held = job.held or event
        return list(self._finished(job))

    def gate_lost(self, gate: str, t: Nanoseconds) -> list[Joined]:
        """End the jobs whose submission was under way at a gate that died; others go on at their server."""
        lost = [job for job in self._jobs.values() if job.gate == gate and job.span and job.held is None]
        return [joined for job in lost for joined in self._given_up(job, t)]

    def abandon(self) -> list[Joined]:
        """End all jobs where they were last heard of: no gate is left that could tell of them."""
        return [joined for job in list(self._jobs.values()) for joined in self._given_up(job, job.touched)]

    def advance(self, now: Nanoseconds) -> list[Joined]:
        """End what was silent for too long."""
        ended: list[Joined] = []
        for job in list(self._jobs.values()):
            silent = now - job.touched
            if silent < UNCLAIMED and len(self._jobs) <= MOST:
                break
            if silent >= (SILENT if job.span else UNCLAIMED) or len(self._jobs) > MOST:
                ended += self._given_up(job, job.touched)
        return ended

    def settled(self, ids: Sequence[SpanId]) -> None:
        """Learn which requests are on disk: what gates heard of them is no longer needed."""
        for id_ in ids if self._over else ():
            if (job := self._over.get(id_)) is not None:
                job.recorded = True
                self._forget(job)

    def freed(self) -> list[tuple[str, SpanId]]:
        """Return the ids of notes that gates may forget since the last call, each with its gate."""
        free, self._free = self._free, []
        return free

    def _note(self, gate: str, note: JobNote) -> Iterator[Joined]:
        job = self._job(note)
        if job.span in self._over:
            if note.id != job.span:
                job.keepers[note.id] = gate
            if job.recorded:
                self._forget(job)
            return
        if note.own and job.span not in (None, note.id):  # the client chose the same id again
            yield from self._given_up(job, note.t)
            job = self._job(note)
        self._jobs.move_to_end(job.key)
        job.take(gate, note)
        if job.span is None:
            return
        if note.own:
            self._spans[job.span] = job
            yield job.gate, SpanJob(job.span, note.t, JobState.ACCEPTED)
        if (running := job.running()) is not None and (job.told is None or running < job.told):
            job.told = running  # the server's own time may come later than the first sign, and say earlier
            yield job.gate, SpanJob(job.span, running, JobState.RUNNING)
        yield from self._finished(job)

    def _job(self, note: JobNote) -> JobRecord:
        """Return the job that a note is of: one that is over, unless it begins anew."""
        key = note.upstream, note.sign.job
        past = self._past.get(key)
        if key not in self._jobs and past is not None and (not note.own or past == note.id):
            return self._over[past]
        if key not in self._jobs:
            self._jobs[key] = JobRecord(key, touched=note.t)
        return self._jobs[key]

    def _forget(self, job: JobRecord) -> None:
        self._free += [(gate, id_) for id_, gate in job.keepers.items()]
        job.keepers.clear()

    def _finished(self, job: JobRecord) -> Iterator[Joined]:
        if job.span is None or job.held is None or job.end is None or job.outcome is None:
            return
        if job.outcome is Outcome.CANCELLED and job.told is None:  # taken out of the queue: it never ran
            yield job.gate, SpanJob(job.span, job.end, JobState.RUNNING)
        yield job.gate, job.closed(job.held, job.end, job.outcome)
        self._put_away(job)

    def _given_up(self, job: JobRecord, t: Nanoseconds) -> Iterator[Joined]:
        """End a job whose end nobody saw; of one whose submission nobody saw there is nothing to end."""
        if job.span is None:
            del self._jobs[job.key]
            self._forget(job)
            return
        held = job.held or SpanClosed(id=job.span, t=t, outcome=Outcome.ORPHANED)
        yield job.gate, job.closed(held, max(t, held.t), job.outcome or Outcome.ORPHANED)
        self._put_away(job)

    def _put_away(self, job: JobRecord) -> None:
        self._jobs.pop(job.key, None)
        if job.span is None:
            return
        self._spans.pop(job.span, None)
        self._over[job.span] = job
        self._past[job.key] = job.span
        if len(self._over) > MOST:
            oldest, gone = self._over.popitem(last=False)
            if self._past.get(gone.key) == oldest:
                del self._past[gone.key]
