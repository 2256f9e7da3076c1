"""When a job ran, by all that was heard of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.meter.requests.job_record import JobRecord, Moment
from joulegate.model import (
    Fact,
    JobNote,
    JobSign,
    JobState,
    Node,
    Outcome,
    Phase,
    SpanClosed,
    SpanId,
    Stage,
    TaskFacts,
)
from joulegate.units import NANO, Nanoseconds

ACCEPTED, RUNNING, DONE = JobState.ACCEPTED, JobState.RUNNING, JobState.DONE
TIMES = st.integers(0, 10**12).map(Nanoseconds)


def ns(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * NANO))


def note(t: float, state: JobState, *, last: float | None = None, own: bool = False, **sign: Any) -> JobNote:
    for name in ("began", "ended", "grain"):
        if name in sign:
            sign[name] = ns(sign[name])
    known = None if last is None else ns(last)
    return JobNote(SpanId("a"), ns(t), "comfy", JobSign("j", state, **sign), own=own, last=known)


def told(*notes: JobNote) -> JobRecord:
    job = JobRecord(("comfy", "j"), touched=Nanoseconds(0))
    for one in notes:
        job.take("gate", one)
    return job


def test_what_the_server_pushes_happened_just_then() -> None:
    """A websocket tells of the start and the end in the moment in which they are."""
    job = told(
        note(1, ACCEPTED, own=True),
        note(3, RUNNING, pushed=True),
        note(3.5, RUNNING, pushed=True),
        note(8, DONE, pushed=True),
    )
    assert (job.running(), job.end, job.outcome) == (ns(3), ns(8), Outcome.OK)


def test_a_poll_only_says_that_it_was_before() -> None:
    """Without times of the server's own the middle between two polls errs least."""
    job = told(
        note(1, ACCEPTED, own=True),
        note(4, RUNNING, last=3),
        note(8, DONE, last=7),
    )
    assert (job.running(), job.end) == (ns(3.5), ns(7.5))


def test_the_servers_own_times_beat_those_of_polls() -> None:
    """Someone who asks a minute later learns when it really was."""
    job = told(note(1, ACCEPTED, own=True), note(60, DONE, began=2.25, ended=5.5, grain=0))
    assert (job.running(), job.end) == (ns(2.25), ns(5.5))


def test_times_in_whole_seconds_are_taken_as_their_middle_and_never_before_the_submission() -> None:
    """A server that says 7 means anything before 8."""
    job = told(note(5.75, ACCEPTED, own=True), note(60, DONE, began=5, ended=7, grain=1))
    assert (job.running(), job.end) == (ns(5.75), ns(7.5))


@pytest.mark.parametrize("off", [-100, 0, 100])
def test_a_server_whose_clock_is_off_still_says_how_long_it_took(off: float) -> None:
    """Both times are shifted alike: as far as it takes to make them possible."""
    job = told(
        note(1, ACCEPTED, own=True),
        note(2, RUNNING, last=2, began=2 + off, grain=0),
        note(60, DONE, last=2, began=2 + off, ended=5 + off, grain=0),
    )
    assert (job.running(), job.end) == (ns(2), ns(5))


def test_of_a_job_that_nobody_saw_running_only_the_end_is_known() -> None:
    """When it began is left to attribution."""
    job = told(note(1, ACCEPTED, own=True), note(8, DONE, last=7))
    assert (job.running(), job.end) == (None, ns(7.5))


def test_steps_take_from_their_mark_to_the_next() -> None:
    """What the server still had takes no time; names without a kind stay names."""
    job = told(
        note(1, ACCEPTED, own=True, nodes=(Node("3", "KSampler"), Node("8", "VAEDecode"))),
        note(2, RUNNING, pushed=True, skipped=("4",)),
        note(5, RUNNING, node="8", pushed=True),
        note(2, RUNNING, node="3", pushed=True),
        note(5, RUNNING, node="8", pushed=True),
        note(5.5, DONE, pushed=True),
    )
    held = SpanClosed(SpanId("a"), ns(1), Outcome.OK, status=200, phase=Phase.DONE, client_left=ns(0.9))
    closed = job.closed(held, ns(5.5), Outcome.OK)
    assert closed.client_left is None, "it need not wait for its job"
    assert closed.stages == (
        Stage(Node("3", "KSampler"), ns(3)),
        Stage(Node("8", "VAEDecode"), ns(0.5)),
        Stage(Node("4"), ns(0)),
    )
    assert (closed.status, closed.t, closed.job) == (200, ns(5.5), "j")


def test_of_steps_that_began_in_one_instant_the_last_told_took_the_time() -> None:
    """Several messages may come in one packet."""
    job = told(
        note(1, ACCEPTED, own=True),
        *(note(2, RUNNING, node=name, pushed=True) for name in ("4", "6", "5", "3")),
        note(5, RUNNING, node="8", pushed=True),
        note(6, DONE, pushed=True),
    )
    stages = job.closed(SpanClosed(SpanId("a"), ns(1), Outcome.OK), ns(6), Outcome.OK).stages
    assert [(stage.node.name, stage.time) for stage in stages if stage.time] == [("3", ns(3)), ("8", ns(1))]


def test_later_facts_add_to_earlier_ones() -> None:
    """The submission knows the size, the end knows the count."""
    job = told(
        note(1, ACCEPTED, own=True, facts=TaskFacts(steps=Fact(20)), model="asked"),
        note(5, DONE, facts=TaskFacts(images=Fact(2)), model="used"),
    )
    closed = job.closed(SpanClosed(SpanId("a"), ns(1), Outcome.OK), ns(5), Outcome.OK)
    assert closed.facts == TaskFacts(steps=Fact(20), images=Fact(2))
    assert closed.model == "used"


@given(low=TIMES, high=TIMES, said=st.none() | TIMES, slip=st.integers(-(10**12), 10**12))
def test_an_instant_is_never_outside_what_is_possible(
    low: Nanoseconds, high: Nanoseconds, said: Nanoseconds | None, slip: int
) -> None:
    """Whatever a server says, what was seen bounds it."""
    at = Moment(low, high, said).at(slip)
    assert at is not None
    assert min(low, high) <= at <= high
