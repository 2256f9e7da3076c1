"""What is learned of an upstream."""

from typing import Any

import numpy as np
import pytest

from joulegate.attribution.features.priors import Priors
from joulegate.attribution.input.request import RequestInput
from joulegate.model import Outcome, SpanClosed, SpanId, SpanOpened, Task
from joulegate.units import Nanoseconds


def ended(make: Any, key: str, body: int, prompt: int, out: int = 10, took: float = 1.0) -> RequestInput:
    one = RequestInput(SpanOpened(SpanId(key), Nanoseconds(0), "llm", "x", Task.CHAT, body_bytes=body), 0, 0)
    one.take(make.closed(key, took, prompt, out))
    return one


def test_prompts_are_estimated_from_their_bytes(make: Any) -> None:
    """After five requests with usage the line through them is used."""
    habits = Priors()
    for place, body in enumerate([500, 1000, 2000, 4000, 8000]):
        habits.learn([ended(make, str(place), body, body // 5 - 20)])

    assert habits.prompts(np.array([3000.0]))[0] == pytest.approx(580, rel=0.01)


def test_before_that_the_usual_line_holds() -> None:
    """English text in JSON: 4.2 bytes a token and 70 tokens of wrapping."""
    assert Priors().prompts(np.array([4200.0, 0.0])) == pytest.approx([930, 1.0])


def test_bytes_a_token_are_learned(make: Any) -> None:
    """Answers with usage tell how many bytes a token has."""
    habits = Priors()
    one = RequestInput(make.opened("a", 0.0), 0, 0)
    one.take(make.closed("a", 1.0, 10, 100))
    habits.learn([one])

    assert habits.bytes_per_token == pytest.approx(4.0)


def test_an_answer_that_was_cut_teaches_nothing(make: Any) -> None:
    """The bytes of an aborted answer do not belong to its tokens."""
    habits = Priors()
    one = RequestInput(make.opened("a", 0.0), 0, 0)
    one.take(SpanClosed(SpanId("a"), Nanoseconds(10**9), Outcome.CANCELLED, response_bytes=10**6))
    habits.learn([one])

    assert habits.bytes_per_token == pytest.approx(4.2)


def test_prefill_pace_needs_six_requests_and_counts_each_once(make: Any) -> None:
    """The same request seen again is not new evidence."""
    habits = Priors()
    for place in range(6):
        assert habits.tau is None
        for _ in range(3):
            habits.learn_prefill(ended(make, str(place), 10, 10), 3e-5)

    assert habits.tau == pytest.approx(3e-5)


def test_hidden_caches_make_prompts_doubtful(make: Any) -> None:
    """If more than a few prompts were cached without a word, all are doubtful."""
    habits = Priors()
    for place in range(20):
        habits.learn_cache(ended(make, str(place), 10, 10), hidden=place < 3)

    assert habits.hides_cache
    assert not Priors().hides_cache


def test_it_is_the_same_whether_they_come_one_by_one_or_at_once(make: Any) -> None:
    """Each counts a little less than the one after it, in whatever parcels they are learned."""
    spans = [ended(make, str(i), 300 + 50 * i, 60 + i, out=5 + i, took=0.1 + 0.02 * i) for i in range(40)]
    single, many = Priors(), Priors()
    for span in spans:
        single.learn([span])
    many.learn(spans)
    sizes = np.array([100.0, 900.0, 4000.0])

    assert many.prompts(sizes) == pytest.approx(single.prompts(sizes))
    assert many.bytes_per_token == pytest.approx(single.bytes_per_token)
    assert many.latency.line() == pytest.approx(single.latency.line())
