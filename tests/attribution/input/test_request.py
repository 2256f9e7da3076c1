"""What is kept of one request."""

from typing import Any

import pytest

from joulegate.attribution.input.request import KEPT_CHUNKS, RequestInput, WorkKind
from joulegate.model import (
    JobState,
    SpanId,
    SpanJob,
)
from joulegate.units import Nanoseconds


def span(make: Any, **asked: Any) -> RequestInput:
    return RequestInput(make.opened("a", 1.0, **asked), 0, 0)


def test_repeated_events_change_nothing(make: Any) -> None:
    """After a reconnection the same chunks come again: they count once."""
    one = span(make)
    for _ in range(2):
        one.take(make.chunks("a", [1.1, 1.2, 1.2]))
        one.take(make.chunks("a", [1.3]))

    assert one.times.tolist() == [1.1, 1.2, 1.2, 1.3]
    assert one.response_bytes == 16


def test_an_end_before_the_start_is_the_start(make: Any) -> None:
    """Clocks of two hosts may differ a little: no request has a negative length."""
    one = span(make)
    one.take(make.closed("a", 0.5))

    assert one.end == 1.0


@pytest.mark.parametrize(
    ("asked", "declared", "kind"),
    [
        ({}, "auto", WorkKind.LLM),
        ({"width": 512}, "auto", WorkKind.IMAGE),
        ({"steps": 4}, "auto", WorkKind.IMAGE),
        ({"width": 512}, "llm", WorkKind.LLM),
        ({}, "image", WorkKind.IMAGE),
    ],
)
def test_the_kind_of_work(make: Any, asked: dict[str, int], declared: str, kind: WorkKind) -> None:
    """The upstream's kind decides; on ``auto`` each request's own facts do."""
    assert span(make, **asked).kind(declared) is kind


@pytest.mark.parametrize("count", [-1, 10**18])
def test_usage_that_lies_is_not_believed(make: Any, count: int) -> None:
    """A count that cannot be true is unknown, and told so."""
    one = span(make)
    one.take(make.closed("a", 3.0, prompt=count, out=5))

    assert one.prompt_tokens is None
    assert one.completion_tokens == 5
    assert one.impossible_usage


def test_a_job_runs_from_its_first_sign(make: Any) -> None:
    """The first running event counts."""
    one = span(make)
    for t in (2, 3):
        one.take(SpanJob(SpanId("a"), Nanoseconds(t * 10**9), JobState.RUNNING))

    assert one.is_job
    assert one.running == 2.0


def test_a_long_stream_lets_go_of_its_past(make: Any) -> None:
    """What came is still known in number and in bytes; the last chunks stay whatever the time."""
    one = span(make)
    for part in range(40):
        one.take(make.chunks("a", [2 + part + i / 50 for i in range(50)]))
    one.trim(30.0)

    assert 1000 < one.gone <= 28 * 50
    assert one.gone + len(one.times) == 40 * 50
    assert (one.seen, one.first) == (8000, 2.0)
    assert one.gone_bytes + sum(one.sizes) == 8000
    assert one.times[0] >= 2.0 + one.gone / 50 - 0.001
    before = one.gone
    one.trim(31.0)
    assert one.gone == before  # not for a few
    one.take(make.chunks("a", [60.0 + i for i in range(1000)]))
    one.trim(1e9)
    assert len(one.times) == KEPT_CHUNKS
    assert one.gone_bytes + sum(one.sizes) == 12_000
