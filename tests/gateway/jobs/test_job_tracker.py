"""What a gate hears of jobs is told once for each thing that is new, under an id that is kept."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.gateway.jobs import job_tracker as jobs
from joulegate.gateway.jobs.job_reporter import JobReporter
from joulegate.gateway.jobs.job_tracker import FIRST, LAST, STILL, JobOrigin, JobTracker, origin
from joulegate.gateway.spans.request_span import Identity
from joulegate.model import (
    Asked,
    JobNote,
    JobSign,
    JobState,
    SpanClosed,
    SpanEvent,
    SpanId,
    SpanOpened,
    Task,
    Work,
)
from joulegate.ports import Route
from joulegate.protocols.comfyui import Plugin
from joulegate.units import NANO, Nanoseconds

ACCEPTED, RUNNING, DONE = JobState.ACCEPTED, JobState.RUNNING, JobState.DONE
ME = SpanId("me")
IDENTITY = Identity(ME, "comfy", "comfyui", Route("prompt", Task.IMAGE_GENERATION), tenant="research")


def ns(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * NANO))


class Sink:
    def __init__(self) -> None:
        self.events: list[SpanEvent] = []

    def emit(self, event: SpanEvent) -> None:
        self.events.append(event)

    def notes(self) -> list[JobNote]:
        return [event for event in self.events if isinstance(event, JobNote)]


def inquiries(job: str) -> Sequence[str]:
    return (f"/api/jobs/{job}",)


def made(*, follow: Callable[[str], Sequence[str]] | None = None) -> tuple[JobTracker, Sink, JobReporter]:
    """Give a gate's jobs, whose wall clock is a thousand seconds ahead of its monotonic one."""
    sink = Sink()
    found = JobTracker(sink, lambda: ns(0), lambda: ns(1_000))
    return found, sink, JobReporter(found, IDENTITY, JobOrigin("comfy", "comfyui", follow))


def test_the_gate_that_took_a_job_tells_of_it_under_the_id_of_its_request() -> None:
    """What it hears later too: all of it is kept and forgotten together."""
    _, sink, ear = made()
    ear.tell(ns(1), [JobSign("j", ACCEPTED, submitted=True)])
    ear.tell(ns(2), [JobSign("j", RUNNING)])
    assert [(note.id, note.own, note.sign.state) for note in sink.notes()] == [
        (ME, True, ACCEPTED),
        (ME, False, RUNNING),
    ]


def test_another_gate_tells_under_an_id_of_its_own() -> None:
    """Polls of anyone, the history, a websocket: all under the same."""
    _, sink, ear = made()
    ear.tell(ns(1), [JobSign("j", RUNNING)])
    ear.tell(ns(2), [JobSign("j", DONE)])
    first, second = sink.notes()
    assert first.id == second.id != ME
    assert (second.own, second.upstream) == (False, "comfy")


def test_what_is_heard_again_and_again_is_told_once_a_minute() -> None:
    """A client that polls ten times a second costs the meter nothing, and the meter knows the job lives."""
    _, sink, ear = made()
    for t in range(int(2 * STILL / NANO) + 1):
        ear.tell(ns(t), [JobSign("j", RUNNING)])
    ear.tell(ns(500.5), [JobSign("j", DONE)])
    for t in range(600, 800):
        ear.tell(ns(t), [JobSign("j", DONE), JobSign("j", RUNNING)])
    told = [(note.t, note.sign.state, note.last) for note in sink.notes()]
    assert told == [
        (ns(0), RUNNING, None),
        (ns(60), RUNNING, None),
        (ns(120), RUNNING, None),
        (ns(500.5), DONE, ns(120)),
    ]


def test_the_servers_times_are_told_on_the_gates_clock() -> None:
    """The meter compares them with everything else that it hears."""
    _, sink, ear = made()
    ear.tell(ns(9), [JobSign("j", DONE, began=ns(1_003), ended=ns(1_008))])
    (note,) = sink.notes()
    assert (note.sign.began, note.sign.ended) == (ns(3), ns(8))


@pytest.mark.parametrize("job", ["", "x" * 257])
def test_an_id_that_is_none_is_not_kept(job: str) -> None:
    """A hostile server fills no memory."""
    _, sink, ear = made()
    ear.tell(ns(1), [JobSign(job, RUNNING)])
    assert sink.events == []


def test_there_is_a_bound_to_the_jobs_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not heard of for longest is told anew."""
    monkeypatch.setattr(jobs, "KNOWN", 2)
    _, sink, ear = made()
    for job in ("a", "b", "c", "a"):
        ear.tell(ns(1), [JobSign(job, RUNNING)])
    assert len({note.id for note in sink.notes()}) == 4


def test_a_work_beside_the_exchange_is_a_request_of_its_own() -> None:
    """One answer may accept several jobs: each has its own record; polls say nothing of it."""
    _, sink, ear = made(follow=inquiries)
    work = Work(Task.IMAGE_GENERATION, Asked(model="flux"))
    ear.tell(ns(1), [JobSign("1", ACCEPTED, work=work), JobSign("2", ACCEPTED, work=work)])
    ear.tell(ns(2), [JobSign("1", RUNNING)])
    opened = [event for event in sink.events if isinstance(event, SpanOpened)]
    assert [(one.tenant, one.asked.model, one.upstream) for one in opened] == [
        ("research", "flux", "comfy")
    ] * 2
    first, second, third = sink.notes()
    assert (first.id, second.id, third.id) == (opened[0].id, opened[1].id, opened[0].id)
    assert (first.own, second.own, third.own) == (True, True, False)
    assert first.sign.work is None
    ends = [event.id for event in sink.events if isinstance(event, SpanClosed)]
    assert ends == [opened[0].id, opened[1].id], "their exchange is over: the meter waits for the job's end"


# --- following -----------------------------------------------------------------------------------------


def test_a_job_is_asked_after_soon_and_then_at_a_slower_pace() -> None:
    """Until its end."""
    found, _, ear = made(follow=inquiries)
    ear.tell(ns(1), [JobSign("j", ACCEPTED, submitted=True)])
    (followed,) = found.followed.values()
    assert (followed.paths, followed.due) == (("/api/jobs/j",), ns(1) + FIRST)
    pauses = []
    for _ in range(8):
        before = followed.due
        found.schedule(followed, before)
        pauses.append(followed.due - before)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST, LAST)
    ear.tell(ns(9), [JobSign("j", DONE)])
    assert not found.followed


def test_traffic_that_tells_puts_the_question_off() -> None:
    """A client that listens or polls makes the gate's own questions seldom."""
    found, _, ear = made(follow=inquiries)
    ear.tell(ns(1), [JobSign("j", ACCEPTED, submitted=True)])
    ear.tell(ns(1.1), [JobSign("j", RUNNING, pushed=True)])
    assert next(iter(found.followed.values())).due == ns(1.1) + LAST


def test_of_a_long_queue_only_the_head_is_asked_after_often() -> None:
    """A hundred jobs do not mean fifty questions a second; when one ends the next is looked at soon."""
    found, _, ear = made(follow=inquiries)
    for number in range(20):
        ear.tell(ns(1), [JobSign(f"j{number}", ACCEPTED, submitted=True)])
    waits = [followed.due - ns(1) for followed in found.followed.values()]
    assert waits[:4] == [FIRST] * 4
    assert waits[4] == 2 * LAST
    assert waits[19] == 5 * LAST
    ear.tell(ns(2), [JobSign("j0", DONE)])
    assert [followed.due for followed in found.followed.values()][3] == ns(2) + FIRST


def test_nothing_is_asked_where_it_is_not_wanted_or_not_known_how() -> None:
    """``follow_jobs = false``, and a protocol that cannot say what to ask."""
    target = UpstreamConfig("comfy", (endpoint("http://127.0.0.1:1"),), follow_jobs=False)
    assert origin(Plugin(), "comfyui", target, "/prompt", ()).inquiries is None
    found, _, ear = made()
    ear.tell(ns(1), [JobSign("j", ACCEPTED, submitted=True)])
    assert not found.followed


def test_the_question_is_asked_with_what_the_submitter_showed(target: Any) -> None:
    """A server behind a key answers only those who have one; nothing else of the client goes along."""
    del target
    comfy = UpstreamConfig("comfy", (endpoint("http://127.0.0.1:1"),), path="/image", strip_path=True)
    shown = ((b"Authorization", b"Bearer x"), (b"Accept", b"*/*"), (b"X-API-Key", b"k"))
    found = origin(Plugin(), "comfyui", comfy, "/image/api/prompt?x=1", shown)
    assert found.inquiries is not None
    assert found.inquiries("a/b") == ("/api/jobs/a%2Fb", "/history/a%2Fb", "/queue")
    assert found.credentials == [(b"Authorization", b"Bearer x"), (b"X-API-Key", b"k")]
