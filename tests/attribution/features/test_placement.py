"""Where work lies in time."""

from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from joulegate.attribution.features.counts import Answers, count, encodes
from joulegate.attribution.features.placement import Placer
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_rate import clock_of
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import table
from joulegate.model import Outcome, ServerTimings, SpanClosed, SpanId
from joulegate.units import NANO, Nanoseconds


def stream(make: Any, key: str, start: float, first: float, tokens: int, prompt: int = 100) -> RequestInput:
    one = RequestInput(make.opened(key, start, stream=True), 0, 0)
    times = [first + 0.01 * i for i in range(tokens)]
    one.take(make.chunks(key, times))
    one.take(make.closed(key, times[-1] + 0.001, prompt, tokens))
    return one


def whole(
    make: Any, key: str, start: float, end: float, prompt: int, out: int, **timings: float
) -> RequestInput:
    one = RequestInput(make.opened(key, start, stream=False), 0, 0)
    told = ServerTimings(**{name: Nanoseconds(round(t * NANO)) for name, t in timings.items()})
    one.take(replace(make.closed(key, end, prompt, out), timings=told))
    return one


class One(Struct):
    """The work of one request."""

    start: float
    prefilled: float
    end: float
    prompt: float
    out: float
    unsure: bool


def place(spans: list[RequestInput], now: float = 100.0, habits: Priors | None = None) -> dict[str, One]:
    habits = habits or Priors()
    answers = Answers(spans, habits)
    placed = Placer(clock_of(answers, habits, 0.0, 20.0), habits, now).place(answers)
    columns = zip(*(getattr(placed, name).tolist() for name in One.__struct_fields__), strict=True)
    return {span.id: One(*values) for span, values in zip(placed.requests, columns, strict=True)}


def test_a_streams_prefill_ends_with_its_first_chunk(make: Any) -> None:
    """It begins a step earlier: what lies before is queue."""
    background = stream(make, "b", 0.0, 0.1, 1000)
    found = place([background, stream(make, "a", 1.0, 5.1, 50)])["a"]

    assert found.prefilled == pytest.approx(5.1 - 0.0022)
    assert found.start == pytest.approx(5.09 - 0.0022, abs=0.003)


def test_an_answer_in_one_piece_is_placed_by_the_clock(make: Any) -> None:
    """It decoded a token a step until its end."""
    found = place([stream(make, "b", 0.0, 0.1, 1000), whole(make, "a", 1.0, 6.0, 100, 201)])["a"]

    assert found.prefilled == pytest.approx(4.0, abs=0.03)


def test_the_servers_own_timings_beat_the_clock(make: Any) -> None:
    """Where a server says how long it prefilled and decoded, that is taken."""
    told = whole(make, "a", 1.0, 6.0, 100, 201, prefill=0.5, decode=1.5)
    found = place([stream(make, "b", 0.0, 0.1, 1000), told])["a"]

    assert found.prefilled == pytest.approx(6.0 - 0.003 - 1.5)
    assert found.start == pytest.approx(found.prefilled - 0.5)


def test_timings_of_a_stream_give_its_prefill(make: Any) -> None:
    """Also a stream's prefill is as long as the server says."""
    one = stream(make, "a", 1.0, 5.1, 50)
    assert one.closed is not None
    told = replace(one.closed, timings=ServerTimings(prefill=Nanoseconds(NANO)))
    one.closed = None
    one.take(told)

    assert place([one])["a"].start == pytest.approx(4.1 - 0.0022)


def test_who_runs_and_shows_nothing_is_unsure(make: Any) -> None:
    """Its work cannot be placed yet, and no fit shall learn from it."""
    found = place([RequestInput(make.opened("a", 1.0, stream=False), 0, 0)], now=3.0)["a"]

    assert found.unsure
    assert found.end == 3.0


def test_who_left_before_the_first_chunk_has_no_tokens(make: Any) -> None:
    """A stream that was aborted in its prefill did half of it on average."""
    one = RequestInput(make.opened("a", 1.0, stream=True), 0, 0)
    one.take(SpanClosed(SpanId("a"), make.ns(2.0), Outcome.CANCELLED, streamed=True))
    found = place([one])["a"]

    assert found.out == 0
    assert found.end == pytest.approx(2.02)


def test_an_aborted_whole_answer_decoded_until_then(make: Any) -> None:
    """Nobody saw its tokens: it made as many as the clock had steps, at most those asked for."""
    for limit, expected in ((1000, 200), (50, 50)):
        one = RequestInput(make.opened("a", 4.0, stream=False, max_tokens=limit), 0, 0)
        one.take(SpanClosed(SpanId("a"), make.ns(6.0), Outcome.CANCELLED))
        found = place([stream(make, "b", 0.0, 0.1, 1000), one])["a"]
        assert found.out == pytest.approx(expected, rel=0.05)


def test_embeddings_that_leave_together_were_one_batch(make: Any) -> None:
    """Batches run one after the other; a request without decoding is its prefill."""
    spans = [whole(make, str(i), 1.0, 1.020 + 0.0001 * i, 100, 0) for i in range(4)]
    spans += [whole(make, f"x{i}", 1.0, 1.040 + 0.0001 * i, 100, 0) for i in range(4)]
    found = place(spans)

    assert encodes(table(spans)).all()
    assert found["0"].start == found["3"].start == pytest.approx(1.0)
    assert found["x0"].start == pytest.approx(found["0"].prefilled)


@pytest.mark.parametrize("tokens", [10**6, 3_999_999])
def test_no_prompt_is_prefilled_faster_than_any_engine_can(make: Any, tokens: int) -> None:
    """Usage that cannot be true for the time it took is clamped."""
    counts = count(table([whole(make, "a", 1.0, 1.1, tokens, 5)]), Priors())

    assert counts.prompt[0] <= 0.1 / 2e-6 + 1


@pytest.mark.parametrize(("early", "cached"), [(0.0, True), (0.1, False)])
def test_a_prefill_that_was_far_too_fast_found_a_cached_prefix(make: Any, early: float, cached: bool) -> None:
    """Unless it had begun in the step before, which was a long one."""
    habits = Priors()
    ticks = [0.1 + 0.01 * i for i in range(400)] + [4.09 + 0.07, *(4.16 + 0.01 * (i + 1) for i in range(300))]
    background = RequestInput(make.opened("b", 0.0, stream=True), 0, 0)
    background.take(make.chunks("b", ticks))
    background.take(make.closed("b", ticks[-1] + 0.001, 10, len(ticks)))
    for key in "uvwxyz":
        habits.learn_prefill(RequestInput(make.opened(key, 0.0), 0, 0), 3e-5)
    one = stream(make, "a", 4.155 - early, 4.17, 30, prompt=1900)
    found = place([background, one], habits=habits)["a"]

    assert (found.prompt < 500) is cached
