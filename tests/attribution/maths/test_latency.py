"""What latencies tell of an engine that streams nothing."""

import numpy as np
import pytest

from joulegate.attribution.maths.latency import Decodings, Latency, pace


def test_the_line_is_found_in_spite_of_outliers() -> None:
    """latency = step x answer + tau x prompt + rest, robustly."""
    latency, rng = Latency(), np.random.default_rng(1)
    for place in range(60):
        out, prompt = float(rng.integers(10, 500)), float(rng.integers(10, 4000))
        late = 3.0 if place % 10 == 0 else 0.0
        latency.learn(str(place), 0.008 * out + 3e-5 * prompt + 0.01 + late, out, prompt)
    line = latency.line()

    assert line is not None
    assert line[0] == pytest.approx(0.008, rel=0.1)


def test_few_answers_say_nothing() -> None:
    """A line needs eight answers."""
    latency = Latency()
    latency.learn("a", 1.0, 10, 10)

    assert latency.line() is None


def test_the_pace_follows_the_answers() -> None:
    """Where answers were slow the engine was slow."""
    edges = np.arange(0.0, 10.005, 0.01)
    early = 0.1 * np.arange(20)
    slow = Decodings(early, np.full(20, 5.0), (5.0 - early) * 50)
    fast = Decodings(np.full(20, 5.0), 9.9 - early, (4.9 - early) * 100)
    rate = pace(slow.and_(fast), edges, 0.7)

    assert rate[100:400].mean() == pytest.approx(0.5, rel=0.05)
    assert rate[550:750].mean() == pytest.approx(1.0, rel=0.05)


def test_where_nobody_decodes_the_usual_pace_holds() -> None:
    """Ticks without any answer are left alone."""
    edges = np.arange(0.0, 10.005, 0.01)

    one = Decodings(np.array([1.0]), np.array([2.0]), np.array([200.0]))

    assert pace(one, edges, 0.7)[500] == 0.7
    assert pace(Decodings.none(), edges, 0.7)[0] == 0.7
