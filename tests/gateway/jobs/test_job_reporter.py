"""What one exchange hears of jobs becomes requests, each closed once."""

from joulegate.gateway.jobs import job_reporter as ears
from joulegate.gateway.jobs.job_reporter import JobReporter
from joulegate.gateway.jobs.job_tracker import JobOrigin, JobTracker
from joulegate.gateway.spans.request_span import Identity
from joulegate.model import (
    JobSign,
    JobState,
    Outcome,
    Phase,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanOpened,
    Task,
    TaskFacts,
    Work,
)
from joulegate.ports import Route
from joulegate.units import NANO, Nanoseconds

RUNNING, DONE = JobState.RUNNING, JobState.DONE
IDENTITY = Identity(SpanId("me"), "llm", "openai", Route("realtime"))
WORK = Work(Task.CHAT)


def ns(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * NANO))


class Sink:
    def __init__(self) -> None:
        self.events: list[SpanEvent] = []

    def emit(self, event: SpanEvent) -> None:
        self.events.append(event)


def made() -> tuple[Sink, JobReporter]:
    sink = Sink()
    return sink, JobReporter(
        JobTracker(sink, lambda: ns(0), lambda: ns(0)), IDENTITY, JobOrigin("llm", "openai")
    )


def test_works_over_one_connection_are_requests_one_after_the_other() -> None:
    """Each answer of a realtime session begins, speaks and ends; what is cut is told as cut."""
    sink, ear = made()
    facts = TaskFacts()
    ear.tell(ns(1), [JobSign("r1", RUNNING, pushed=True, work=WORK)])
    ear.tell(ns(2), [JobSign("r1", RUNNING, pushed=True)])
    ear.tell(ns(3), [JobSign("r1", DONE, pushed=True, facts=facts, model="m")])
    ear.tell(ns(4), [JobSign("r2", RUNNING, pushed=True, work=WORK)])
    ear.end(ns(5), Outcome.OK)
    first, second = [event for event in sink.events if isinstance(event, SpanOpened)]
    assert (first.t, first.task, second.t) == (ns(1), Task.CHAT, ns(4))
    assert [event for event in sink.events if not isinstance(event, SpanOpened)] == [
        SpanFirstByte(first.id, ns(2)),
        SpanClosed(first.id, ns(3), Outcome.OK, facts=facts, model="m"),
        SpanClosed(second.id, ns(5), Outcome.CANCELLED, phase=Phase.RESPONSE),
    ]


def test_there_is_a_bound_to_what_runs_over_one_connection() -> None:
    """A server that begins and never ends fills no memory."""
    sink, ear = made()
    ear.tell(ns(1), [JobSign(f"r{n}", RUNNING, pushed=True, work=WORK) for n in range(ears.TURNS + 9)])
    assert len(sink.events) == ears.TURNS
