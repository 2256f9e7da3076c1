"""One clock per engine, from whatever its requests show."""

from typing import Any

import numpy as np
import pytest

from joulegate.attribution.features.counts import Answers
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_rate import clock_of
from joulegate.attribution.input.request import RequestInput


def lumpy(make: Any, key: str, start: float) -> RequestInput:
    """A stream of 200 tokens at 10 ms, delivered every 120 ms."""
    one = RequestInput(make.opened(key, start, stream=True), 0, 0)
    times = [start + 0.12 * (i + 1) for i in range(17)]
    one.take(make.chunks(key, times))
    one.take(make.closed(key, times[-1] + 0.01, 10, 200))
    return one


def test_lumps_alone_keep_time(make: Any) -> None:
    """If all streams are coalesced, their tokens between two lumps still give the pace."""
    habits = Priors()
    spans = [lumpy(make, str(i), 0.3 * i) for i in range(6)]
    clock = clock_of(Answers(spans, habits), habits, 0.0, 5.0)

    assert not clock.speculative
    assert np.diff(clock.at(np.array([0.5, 1.5])))[0] == pytest.approx(100, rel=0.08)


def test_whole_answers_keep_time(make: Any) -> None:
    """If nothing is streamed, latencies give the pace."""
    habits, spans = Priors(), []
    for i in range(12):
        out = 50 + 20 * i
        one = RequestInput(make.opened(str(i), 0.1 * i, stream=False), 0, 0)
        one.take(make.closed(str(i), 0.1 * i + 0.01 + 0.02 * out, 10, out))
        spans.append(one)
    habits.learn(spans)
    clock = clock_of(Answers(spans, habits), habits, 0.0, 5.0)

    assert np.diff(clock.at(np.array([1.5, 2.5])))[0] == pytest.approx(50, rel=0.1)


def test_nothing_known_is_the_usual_step(make: Any) -> None:
    """A first request has a clock too."""
    clock = clock_of(Answers([RequestInput(make.opened("a", 0.0), 0, 0)], Priors()), Priors(), 0.0, 1.0)

    assert clock.step == pytest.approx(0.009)
