"""A job's request is open from its submission to its real end, whoever tells of it."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.meter.requests import job_joiner as jobs
from joulegate.meter.requests.job_joiner import SILENT, UNCLAIMED, JobJoiner, Joined
from joulegate.model import (
    JobNote,
    JobSign,
    JobState,
    Outcome,
    SpanClosed,
    SpanEvent,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
)
from joulegate.units import NANO, Nanoseconds

ACCEPTED, RUNNING, DONE = JobState.ACCEPTED, JobState.RUNNING, JobState.DONE
ME, EAR, OTHER = SpanId("me"), SpanId("ear"), SpanId("other")


def ns(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * NANO))


def heard(t: float, state: JobState, by: SpanId = EAR, job: str = "j", **sign: Any) -> JobNote:
    own = by == ME
    return JobNote(by, ns(t), "comfy", JobSign(job, state, pushed=not own, **sign), own=own)


OPENED = SpanOpened(ME, ns(1), "comfy", "comfyui", Task.IMAGE_GENERATION)
ENDED = SpanClosed(ME, ns(1.01), Outcome.OK, status=200)
SUBMITTED = heard(1.005, ACCEPTED, by=ME)


def tell(joiner: JobJoiner, *events: SpanEvent, gate: str = "first") -> list[Joined]:
    return [joined for event in events for joined in joiner.event(gate, event)]


def closed(joined: Sequence[Joined]) -> list[SpanClosed]:
    return [event for _, event in joined if isinstance(event, SpanClosed)]


def test_the_end_of_the_exchange_is_not_the_end_of_the_job() -> None:
    """The POST took ten milliseconds, the job five seconds."""
    joiner = JobJoiner()
    assert tell(joiner, OPENED) == [("first", OPENED)]
    assert tell(joiner, SUBMITTED, ENDED) == [("first", SpanJob(ME, SUBMITTED.t, ACCEPTED))]
    assert ME in joiner
    assert tell(joiner, heard(2, RUNNING), gate="second") == [("first", SpanJob(ME, ns(2), RUNNING))]
    (end,) = closed(tell(joiner, heard(7, DONE), gate="second"))
    assert (end.t, end.outcome, end.status, end.job) == (ns(7), Outcome.OK, 200, "j")
    assert ME not in joiner


def test_requests_that_are_no_jobs_pass_as_they_are() -> None:
    """Most requests."""
    joiner = JobJoiner()
    tell(joiner, OPENED, SUBMITTED)
    other = SpanClosed(OTHER, ns(2), Outcome.OK)
    assert tell(joiner, other) == [("first", other)]


@pytest.mark.parametrize(
    ("state", "outcome"), [(JobState.FAILED, Outcome.UPSTREAM_ERROR), (JobState.CANCELLED, Outcome.CANCELLED)]
)
def test_a_job_ends_as_the_server_says(state: JobState, outcome: Outcome) -> None:
    """The answer to the POST was good all the same."""
    (end,) = closed(tell(JobJoiner(), OPENED, SUBMITTED, ENDED, heard(2, RUNNING), heard(3, state)))
    assert (end.outcome, end.status) == (outcome, 200)


def test_a_job_that_was_taken_out_of_the_queue_never_ran() -> None:
    """Its time is all waiting: nobody saw it run."""
    joined = tell(JobJoiner(), OPENED, SUBMITTED, ENDED, heard(3, JobState.CANCELLED))
    assert joined[-2] == ("first", SpanJob(ME, ns(3), RUNNING))
    (end,) = closed(joined)
    assert (end.t, end.outcome) == (ns(3), Outcome.CANCELLED)


def test_an_earlier_start_that_is_learnt_later_counts() -> None:
    """A poll saw it run; at its end the server says since when."""
    poll = JobNote(EAR, ns(4), "comfy", JobSign("j", RUNNING))
    done = JobNote(EAR, ns(9), "comfy", JobSign("j", DONE, began=ns(2), ended=ns(8)), last=ns(7))
    joined = tell(JobJoiner(), OPENED, SUBMITTED, ENDED, poll, done)
    runs = [event.t for _, event in joined if isinstance(event, SpanJob) and event.state is RUNNING]
    assert runs == [(SUBMITTED.t + ns(4)) // 2, ns(2) + 500_000], "the middle; then what the server says"


@given(seed=st.integers())
def test_the_order_in_which_gates_tell_does_not_matter(seed: int) -> None:
    """Each gate tells its own events in order; those of three gates come in any."""
    queues = [
        [OPENED, SUBMITTED, ENDED],
        [heard(2, RUNNING, by=EAR), heard(7, DONE, by=EAR), heard(7, DONE, by=EAR)],
        [heard(3, RUNNING, by=OTHER), heard(8, DONE, by=OTHER)],
    ]
    dice, joiner, joined = random.Random(seed), JobJoiner(), list[Joined]()
    while queues := [queue for queue in queues if queue]:
        joined += tell(joiner, dice.choice(queues).pop(0))
    ends = closed(joined)
    assert [(end.id, end.job) for end in ends] == [(ME, "j")]
    assert ends[0].t in (ns(7), ns(8)), "the end of the first gate that told of it"
    assert ("first", SpanJob(ME, SUBMITTED.t, ACCEPTED)) in joined
    joiner.settled([ME])
    assert set(joiner.freed()) == {("first", EAR), ("first", OTHER)}


def test_what_gates_heard_is_kept_until_the_record_is_on_disk() -> None:
    """A meter that dies before that can ask them again; a late note may go at once."""
    joiner = JobJoiner()
    tell(joiner, OPENED, SUBMITTED, ENDED, heard(2, RUNNING), heard(3, DONE))
    assert joiner.freed() == []
    joiner.settled([ME])
    assert joiner.freed() == [("first", EAR)]
    assert tell(joiner, heard(4, DONE, by=OTHER)) == []
    assert joiner.freed() == [("first", OTHER)]


def test_a_job_whose_end_nobody_saw_ends_where_it_was_last_heard_of() -> None:
    """After an hour of silence; what was heard in between counts."""
    joiner = JobJoiner()
    tell(joiner, OPENED, SUBMITTED, ENDED, heard(2, RUNNING), heard(1_000, RUNNING))
    assert joiner.advance(ns(2 + SILENT / NANO)) == []
    (end,) = closed(joiner.advance(Nanoseconds(ns(1_000) + SILENT)))
    assert (end.t, end.outcome, end.job) == (ns(1_000), Outcome.ORPHANED, "j")
    assert joiner.advance(ns(10**6)) == []


def test_notes_of_a_job_that_nobody_submitted_here_are_forgotten() -> None:
    """It came to the server by another way: its energy is not a request's of ours."""
    joiner = JobJoiner()
    tell(joiner, heard(2, RUNNING))
    assert joiner.advance(Nanoseconds(ns(2) + UNCLAIMED)) == []
    assert joiner.freed() == [("first", EAR)]
    assert closed(tell(joiner, OPENED, SUBMITTED, ENDED)) == []


def test_jobs_outlive_the_gate_that_took_them() -> None:
    """Their server works on; only one whose submission was under way ends with its gate."""
    joiner = JobJoiner()
    tell(joiner, OPENED, SUBMITTED, ENDED)
    cut = JobNote(OTHER, ns(2), "comfy", JobSign("k", ACCEPTED), own=True)
    tell(joiner, cut)
    (end,) = closed(joiner.gate_lost("first", ns(3)))
    assert (end.id, end.outcome) == (OTHER, Outcome.ORPHANED)
    assert len(closed(tell(joiner, heard(7, DONE), gate="second"))) == 1


def test_when_no_gate_is_left_jobs_end_where_they_were_last_heard_of() -> None:
    """At the end of the meter's own life."""
    joiner = JobJoiner()
    tell(joiner, OPENED, SUBMITTED, ENDED, heard(4, RUNNING))
    (end,) = closed(joiner.abandon())
    assert (end.t, end.outcome) == (ns(4), Outcome.ORPHANED)


def test_a_client_may_choose_the_same_id_again() -> None:
    """ComfyUI lets it: the second submission is a job of its own, whether the first has ended or not."""
    joiner = JobJoiner()
    first = tell(joiner, OPENED, SUBMITTED, ENDED, heard(2, DONE))
    again = JobNote(OTHER, ns(5), "comfy", JobSign("j", ACCEPTED), own=True)
    third = JobNote(SpanId("third"), ns(6), "comfy", JobSign("j", ACCEPTED), own=True)
    ends = closed([*first, *tell(joiner, again, third, SpanClosed(SpanId("third"), ns(6), Outcome.OK))])
    ends += closed(tell(joiner, heard(9, DONE)))
    assert [(end.id, end.outcome) for end in ends] == [
        (ME, Outcome.OK),
        (OTHER, Outcome.ORPHANED),
        ("third", Outcome.OK),
    ]


def test_there_is_a_bound_to_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the job that was silent for longest ends, and the oldest end is forgotten."""
    monkeypatch.setattr(jobs, "MOST", 2)
    joiner = JobJoiner()
    for number in range(4):
        id_ = SpanId(f"s{number}")
        tell(joiner, JobNote(id_, ns(number), "comfy", JobSign(f"j{number}", ACCEPTED), own=True))
    assert [end.id for end in closed(joiner.advance(ns(4)))] == ["s0", "s1"]
    tell(joiner, *(SpanClosed(SpanId(f"s{number}"), ns(5), Outcome.OK) for number in (2, 3)))
    assert len(closed(tell(joiner, heard(6, DONE, job="j2"), heard(6, DONE, job="j3")))) == 2
    joiner.settled([SpanId("s0"), SpanId("s1"), SpanId("s2"), SpanId("s3")])
    assert joiner.freed() == [("first", EAR)] * 2
