"""Where images are drawn."""

from typing import Any

import pytest

from joulegate.attribution.features.images import ImagePlacer, image_work
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.input.request import RequestInput
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


def test_images_in_a_queue_are_drawn_one_after_the_other(make: Any) -> None:
    """Service starts when the one before has left."""
    spans = []
    for key, end in (("a", 3.0), ("b", 5.0)):
        one = RequestInput(make.opened(key, 1.0, "img", width=512, height=512, steps=20), 0, 0)
        one.take(make.closed(key, end))
        spans.append(one)
    found = {one.request.id: one for one in ImagePlacer(1, Priors(), 100.0).place(spans)}

    assert found["a"].start == 1.0
    assert found["b"].start == pytest.approx(3.0 - 0.005)


def test_images_that_leave_together_share_a_batch(make: Any) -> None:
    """Up to the server's concurrency."""
    spans = []
    for key in "abc":
        one = RequestInput(make.opened(key, 1.0, "img", width=512, height=512, steps=20), 0, ord(key))
        one.take(make.closed(key, 3.0))
        spans.append(one)
    found = {one.request.id: one for one in ImagePlacer(2, Priors(), 100.0).place(spans)}

    assert found["a"].start == found["b"].start == 1.0
    assert found["c"].start == pytest.approx(2.993, abs=0.003)


def test_a_jobs_energy_is_that_of_its_run(make: Any) -> None:
    """A job works from its first sign of running until the next one runs."""
    spans = []
    for key, running in (("a", 2.0), ("b", 4.0)):
        one = RequestInput(make.opened(key, 1.0, "img"), 0, 0)
        one.take(SpanJob(SpanId(key), make.ns(running), JobState.RUNNING))
        one.take(make.closed(key, running + 2.3))
        spans.append(one)
    found = {one.request.id: one for one in ImagePlacer(1, Priors(), 100.0).place(spans)}

    assert (found["a"].start, found["a"].end) == (2.0, 4.0)


def test_a_job_of_which_nothing_says_that_it_runs_follows_the_one_before(make: Any) -> None:
    """A server that does one after the other begins with the next at once; what waits is not there yet."""
    spans = {}
    times = {"a": (1.0, 2.0, 5.0), "b": (1.5, None, 9.0), "c": (1.6, None, None), "d": (1.7, None, None)}
    for key, (opened, running, ended) in times.items():
        one = spans[key] = RequestInput(make.opened(key, opened, "img"), 0, ord(key))
        one.take(SpanJob(SpanId(key), make.ns(opened), JobState.ACCEPTED))
        if running:
            one.take(SpanJob(SpanId(key), make.ns(running), JobState.RUNNING))
        if ended:
            one.take(make.closed(key, ended))
    found = {one.request.id: one for one in ImagePlacer(1, Priors(), 20.0).place(list(spans.values()))}

    assert (found["a"].start, found["a"].end) == (2.0, 4.995)
    assert (found["b"].start, found["b"].end) == (4.995, 8.995)
    assert found["c"].start == 8.995
    assert found["d"].start >= found["c"].end >= 20.0, "it waits"
    both = {one.request.id: one for one in ImagePlacer(2, Priors(), 20.0).place(list(spans.values()))}
    assert both["b"].start == 1.5, "two at once may run"


def test_an_image_that_is_not_ready_ends_when_it_usually_would(make: Any) -> None:
    """Its work is spread over the time that such images take."""
    habits, done = (
        Priors(),
        RequestInput(make.opened("a", 1.0, "img", width=1024, height=1024, steps=10), 0, 0),
    )
    done.take(make.closed("a", 11.005))
    running = RequestInput(make.opened("b", 11.005, "img", width=1024, height=1024, steps=10), 0, 1)
    ImagePlacer(1, habits, 100.0).place([done])
    found = ImagePlacer(1, habits, 12.0).place([running])[0]

    assert found.end == pytest.approx(21.005, abs=0.01)
    assert found.unsure


def span(make: Any, **asked: Any) -> RequestInput:
    return RequestInput(make.opened("a", 1.0, **asked), 0, 0)


def test_images_have_usual_sizes_where_nothing_is_said(make: Any) -> None:
    """An image without a size is a square megapixel in twenty steps."""
    assert image_work(span(make)) == (1.0, 20.0, 1.0)


def test_reported_pixels_beat_the_wish(make: Any) -> None:
    """What the server drew counts, not what was asked."""
    opened = SpanOpened(
        SpanId("a"), Nanoseconds(0), "img", "x", Task.IMAGE_GENERATION, asked=Asked(width=64, height=64)
    )
    one = RequestInput(opened, 0, 0)
    facts = TaskFacts(images=Fact(2), pixels=Fact(2 * 2**20), steps=Fact(8))
    one.take(SpanClosed(SpanId("a"), Nanoseconds(5), Outcome.OK, facts=facts))

    assert image_work(one) == (1.0, 8.0, 2.0)


def test_before_it_runs_a_job_is_not_there(make: Any) -> None:
    """Its time in the queue is nobody's work."""
    one = RequestInput(make.opened("a", 1.0, "img"), 0, 0)
    one.take(SpanJob(SpanId("a"), make.ns(1.0), JobState.ACCEPTED))
    one.take(SpanJob(SpanId("a"), make.ns(5.0), JobState.RUNNING))
    assert one.start == 5.0
    one.take(SpanJob(SpanId("a"), make.ns(4.0), JobState.RUNNING))
    assert (one.start, one.running) == (4.0, 4.0), "an earlier start that is learnt later counts"


def test_no_steps_are_no_steps(make: Any) -> None:
    """A server that still had the results drew nothing, whatever was asked."""
    one = span(make, steps=20)
    facts = TaskFacts(steps=Fact(0))
    one.take(SpanClosed(SpanId("a"), Nanoseconds(5), Outcome.OK, facts=facts))
    assert image_work(one)[1:] == (0.0, 0.0)
