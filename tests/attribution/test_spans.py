"""What is kept of one request."""

from typing import Any

import pytest

from joulegate.attribution.spans import Kind, Span
from joulegate.model import (
    Asked,
    Fact,
    JobState,
    Outcome,
    SpanClosed,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
    TaskFacts,
)
from joulegate.units import Nanoseconds


def span(make: Any, **asked: Any) -> Span:
    return Span(make.opened("a", 1.0, **asked), 0, 0)


def test_repeated_events_change_nothing(make: Any) -> None:
    """After a reconnection the same chunks come again: they count once."""
    one = span(make)
    for _ in range(2):
        one.take(make.chunks("a", [1.1, 1.2, 1.2]))
        one.take(make.chunks("a", [1.3]))

    assert one.times.tolist() == [1.1, 1.2, 1.2, 1.3]
    assert one.response_bytes == 16


def test_the_first_end_counts(make: Any) -> None:
    """A request ends once."""
    one = span(make)
    one.take(make.closed("a", 3.0))
    one.take(make.closed("a", 9.0))

    assert one.end == 3.0


def test_an_end_before_the_start_is_the_start(make: Any) -> None:
    """Clocks of two hosts may differ a little: no request has a negative length."""
    one = span(make)
    one.take(make.closed("a", 0.5))

    assert one.end == 1.0


@pytest.mark.parametrize(
    ("asked", "declared", "kind"),
    [
        ({}, "auto", Kind.LLM),
        ({"width": 512}, "auto", Kind.IMAGE),
        ({"steps": 4}, "auto", Kind.IMAGE),
        ({"width": 512}, "llm", Kind.LLM),
        ({}, "image", Kind.IMAGE),
    ],
)
def test_the_kind_of_work(make: Any, asked: dict[str, int], declared: str, kind: Kind) -> None:
    """The upstream's kind decides; on ``auto`` each request's own facts do."""
    assert span(make, **asked).kind(declared) is kind


@pytest.mark.parametrize("count", [-1, 10**18])
def test_usage_that_lies_is_not_believed(make: Any, count: int) -> None:
    """A count that cannot be true is unknown, and told so."""
    one = span(make)
    one.take(make.closed("a", 3.0, prompt=count, out=5))

    assert one.prompt_tokens is None
    assert one.completion_tokens == 5
    assert one.lies


def test_a_job_runs_from_its_first_sign(make: Any) -> None:
    """The first running event counts."""
    one = span(make)
    for t in (2, 3):
        one.take(SpanJob(SpanId("a"), Nanoseconds(t * 10**9), JobState.RUNNING))

    assert one.is_job
    assert one.running == 2.0


def test_images_have_usual_sizes_where_nothing_is_said(make: Any) -> None:
    """An image without a size is a square megapixel in twenty steps."""
    assert span(make).image_work() == (1.0, 20.0, 1.0)


def test_reported_pixels_beat_the_wish(make: Any) -> None:
    """What the server drew counts, not what was asked."""
    opened = SpanOpened(
        SpanId("a"), Nanoseconds(0), "img", "x", Task.IMAGE_GENERATION, asked=Asked(width=64, height=64)
    )
    one = Span(opened, 0, 0)
    facts = TaskFacts(images=Fact(2), pixels=Fact(2 * 2**20), steps=Fact(8))
    one.take(SpanClosed(SpanId("a"), Nanoseconds(5), Outcome.OK, facts=facts))

    assert one.image_work() == (1.0, 8.0, 2.0)


def test_a_job_in_a_queue_works_not(make: Any) -> None:
    """It is there from its submission, and costs nothing until it runs; an end says that it has."""
    one = span(make)
    one.take(SpanJob(SpanId("a"), Nanoseconds(10**9), JobState.ACCEPTED))
    assert not one.works()
    one.take(SpanJob(SpanId("a"), Nanoseconds(5 * 10**9), JobState.RUNNING))
    assert one.works()
    assert one.start == 5.0


def test_no_steps_are_no_steps(make: Any) -> None:
    """A server that still had the results drew nothing, whatever was asked."""
    one = span(make, steps=20)
    facts = TaskFacts(steps=Fact(0))
    one.take(SpanClosed(SpanId("a"), Nanoseconds(5), Outcome.OK, facts=facts))
    assert one.image_work()[1] == 0.0
