"""The events of one request."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.gateway.policy.task_rules import TaskRule
from joulegate.gateway.spans.observation import Observation, SilentObserver
from joulegate.gateway.spans.request_span import MOST_CHUNKS, Identity, RequestSpan
from joulegate.model import (
    Asked,
    Outcome,
    Phase,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanOpened,
    Task,
    WorkClass,
)
from joulegate.ports import Route
from joulegate.units import NANO, Nanoseconds

DONE = Outcome.OK, Phase.DONE, 200


class Streaming(SilentObserver):
    """An observer of a stream in which only letters are content."""

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        return sum(letter.isalpha() for letter in chunk.decode())

    def streamed(self) -> bool:
        return True


class Names(SilentObserver):
    """An observer that heard which model is asked for."""

    def asked(self) -> Asked:
        return Asked(model="llama-3")


class Kept:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[SpanEvent] = []

    def emit(self, event: SpanEvent) -> None:
        self.events.append(event)


INFERENCE = Route("r")


def span(kept: Kept, route: Route = INFERENCE, **known: object) -> RequestSpan:
    identity = Identity(id=SpanId("1"), upstream="u", protocol="p", route=route, **known)  # type: ignore[arg-type]
    return RequestSpan(kept, identity, Observation(Streaming(), "p", route, print))


@given(
    st.lists(
        st.sampled_from(["open", "receive", "comment", "flush", "close"]) | st.integers(0, 2 * NANO),
        max_size=300,
    )
)
def test_events_come_once_in_order_and_lose_nothing(steps: list[str | int]) -> None:
    """Whatever happens in whatever order: opened once and first, closed once and last, all content told."""
    kept, now, content = Kept(), 0, 0
    one = span(kept)
    for step in steps:
        now += step if isinstance(step, int) else 1
        t = Nanoseconds(now)
        if step == "open":
            one.open(t)
        elif step in {"receive", "comment"} and not one.closed:
            one.received([t, t], [b"a", b"b"] if step == "receive" else [b":", b":"])
            content += 2 if step == "receive" else 0
        elif step == "flush" and one.due(t):
            one.flush(t)
        elif step == "close":
            one.close(t, *DONE)
    one.close(Nanoseconds(now), *DONE)
    kinds = [type(event) for event in kept.events]
    assert kinds.count(SpanOpened) == kinds.count(SpanClosed) == 1
    assert kinds[-1] is SpanClosed
    assert kinds.count(SpanFirstByte) == (content > 0)
    chunks = [event for event in kept.events if isinstance(event, SpanChunks)]
    assert sum(sum(event.sizes) for event in chunks) == content
    assert all(0 < len(event.times) == len(event.sizes) <= MOST_CHUNKS for event in chunks)
    closed = kept.events[-1]
    assert isinstance(closed, SpanClosed)
    assert closed.response_bytes == content


def test_chunks_are_told_at_least_once_a_second() -> None:
    """The meter sees a stream while it runs, and not an event for every token."""
    kept = Kept()
    one = span(kept)
    one.open(Nanoseconds(0))
    for tenth in range(21):
        one.received([Nanoseconds(tenth * NANO // 10)], [b"a"])
    chunks = [event for event in kept.events if isinstance(event, SpanChunks)]
    assert [len(event.times) for event in chunks] == [11, 10]
    one.received([Nanoseconds(21 * NANO // 10)], [b"a"])
    assert not one.due(Nanoseconds(25 * NANO // 10))
    assert one.due(Nanoseconds(31 * NANO // 10))


def test_parts_that_are_heard_together_are_told_as_if_they_had_been_heard_as_they_came() -> None:
    """Their own times and sizes count, whenever the observer hears them."""
    parts = [(Nanoseconds(at * NANO // 7), b"a" * (at % 3)) for at in range(200)]
    told = []
    for step in (1, 2, 7, 64):
        kept = Kept()
        one = span(kept)
        one.open(Nanoseconds(0))
        for begin in range(0, len(parts), step):
            some = parts[begin : begin + step]
            one.received([t for t, _ in some], [part for _, part in some])
        one.close(Nanoseconds(200 * NANO // 7), *DONE)
        chunks = [event for event in kept.events if isinstance(event, SpanChunks)]
        pairs = [pair for event in chunks for pair in zip(event.times, event.sizes, strict=True)]
        told.append((pairs, kept.events[-1], [e for e in kept.events if isinstance(e, SpanFirstByte)]))
        assert all(0 < len(event.times) <= MOST_CHUNKS for event in chunks)
    assert all(one == told[0] for one in told)
    assert told[0][0] == [(t, len(part)) for t, part in parts if part]


class Whole(SilentObserver):
    """An observer of an answer that is no stream."""


def test_the_first_byte_of_a_whole_answer_is_told_by_its_end_or_when_it_has_waited() -> None:
    """One event less for each short answer, and a long one shows that it has begun."""
    identity = Identity(id=SpanId("1"), upstream="u", protocol="p", route=INFERENCE)
    for waits in (False, True):
        kept = Kept()
        one = RequestSpan(kept, identity, Observation(Whole(), "p", INFERENCE, print))
        one.open(Nanoseconds(0))
        one.received([Nanoseconds(5)], [b"a"])
        if waits:
            one.check(Nanoseconds(7))
            one.check(Nanoseconds(8))
        one.close(Nanoseconds(9), *DONE)
        first = [event for event in kept.events if isinstance(event, SpanFirstByte)]
        closed = kept.events[-1]
        assert isinstance(closed, SpanClosed)
        assert [event.t for event in first] == [5] * waits
        assert closed.first_byte == (None if waits else 5)


def test_a_task_of_the_upstream_replaces_the_routes_own_for_inference_only() -> None:
    """A health check of a summarising server is no summary."""
    for work, expected in ((WorkClass.INFERENCE, Task.SUMMARIZATION), (WorkClass.PROBE, Task.CHAT)):
        kept = Kept()
        span(kept, Route("r", Task.CHAT, work), task=Task.SUMMARIZATION, model="m").open(Nanoseconds(0))
        opened = kept.events[0]
        assert isinstance(opened, SpanOpened)
        assert (opened.task, opened.asked.model) == (expected, "m")


def test_a_body_may_ask_for_another_class_of_work_than_its_route() -> None:
    """An empty prompt only loads the model: no task of the upstream's."""

    class Loads(SilentObserver):
        def asked(self) -> Asked:
            return Asked(model="m", work=WorkClass.MODEL_LOAD)

    kept = Kept()
    identity = Identity(
        id=SpanId("1"), upstream="u", protocol="p", route=Route("r", Task.CHAT), task=Task.SUMMARIZATION
    )
    RequestSpan(kept, identity, Observation(Loads(), "p", identity.route, print)).open(Nanoseconds(0))
    opened = kept.events[0]
    assert isinstance(opened, SpanOpened)
    assert (opened.task, opened.work) == (Task.CHAT, WorkClass.MODEL_LOAD)


def test_an_end_says_whether_the_answer_was_whole() -> None:
    """The observer is told the end before its facts are asked for."""
    told: list[bool] = []

    class Ends(SilentObserver):
        def response_end(self, *, complete: bool) -> None:
            told.append(complete)

    for phase in (Phase.DONE, Phase.RESPONSE):
        identity = Identity(id=SpanId("1"), upstream="u", protocol="p", route=Route("r"))
        RequestSpan(Kept(), identity, Observation(Ends(), "p", identity.route, print)).close(
            Nanoseconds(1), Outcome.OK, phase, 200
        )
    assert told == [True, False]


@pytest.mark.parametrize("work", list(WorkClass))
def test_rules_change_the_task_of_inference_only(work: WorkClass) -> None:
    """The rule that takes the model wins over upstream and route; probes and loads keep out of every task."""
    kept = Kept()
    rules = tuple(TaskRule(task, re.compile(".*"), re.compile(model)) for task, model in (
        (Task.RERANK, "gemma"), (Task.SUMMARIZATION, "llama-3"),
    ))  # fmt: skip
    route = Route("r", Task.TEXT_GENERATION, work)
    identity = Identity(SpanId("1"), "u", "p", route, task=Task.CHAT, tasks=rules)
    RequestSpan(kept, identity, Observation(Names(), "p", route, print)).open(Nanoseconds(0))
    (opened,) = kept.events
    assert isinstance(opened, SpanOpened)
    assert opened.work is work
    assert opened.task == (Task.SUMMARIZATION if work is WorkClass.INFERENCE else Task.TEXT_GENERATION)
