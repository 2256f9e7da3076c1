"""When windows and requests are settled."""

from typing import Any

from joulegate.model import Outcome
from joulegate.units import MICRO


def feed(one: Any, make: Any, start: float, end: float) -> None:
    one.feed([make.reading(i / 10, 100 * i / 10) for i in range(round(start * 10), round(end * 10))])


def test_a_window_waits_for_who_still_runs_but_not_for_ever(bench: Any, make: Any) -> None:
    """A short neighbour of an endless request gets its final figure after the settlement delay."""
    one = bench()
    one.feed([make.opened("endless", 1.0), make.opened("short", 1.0)])
    for t in range(50):
        feed(one, make, t, t + 1)
        if t == 3:
            one.feed([make.closed("short", 3.0, 10, 100)])
        one.advance(t + 1)
        if t < 30:
            assert "short" not in one.run.settled

    assert one.run.settled["short"].energy > 0


def test_rules_that_learn_nothing_settle_a_second_after_the_end(bench: Any, make: Any) -> None:
    """Nobody waits thirty seconds for a figure that cannot get better."""
    one = bench("tokens")
    one.feed([make.opened("a", 1.0), make.closed("a", 3.0, 10, 100)])
    feed(one, make, 0, 6)
    for tenth in range(40, 61):
        one.advance(tenth / 10)

    assert one.run.settled["a"].final


def test_the_step_clock_settles_at_the_first_fit_after_the_delay(bench: Any, make: Any) -> None:
    """Provisional at once, final when later traffic has taught the fit."""
    one = bench("step-clock")
    one.feed([make.opened("a", 1.0), make.closed("a", 3.0, 10, 100)])
    for t in range(45):
        feed(one, make, t, t + 1)
        one.advance(t + 1)
        if t == 30:
            assert "a" in one.run.provisional
            assert "a" not in one.run.settled

    assert one.run.settled["a"].energy > 0


def test_nothing_is_kept_of_what_is_settled(bench: Any, make: Any) -> None:
    """Memory does not grow with time."""
    one = bench("tokens")
    for t in range(200):
        feed(one, make, t, t + 1)
        one.feed([make.opened(str(t), t + 0.1), make.closed(str(t), t + 0.6, 10, 50)])
        one.advance(t + 1)
    group = one.settler._groups[0]

    assert len(group.spans) < 20
    assert len(group._windows) < 60
    assert len(group.timelines[0].times) < 60
    assert len(one.run.settled) > 190


def test_a_late_event_of_a_settled_request_changes_nothing(bench: Any, make: Any) -> None:
    """Its figure is out, and the books keep balancing."""
    one = bench("tokens")
    one.feed([make.opened("a", 1.0), make.closed("a", 3.0, 10, 100)])
    feed(one, make, 0, 10)
    for t in range(10):
        one.advance(t)
    before = one.run.settled["a"]
    one.feed(
        [make.opened("a", 1.0), make.chunks("a", [4.0]), make.closed("a", 9.0, outcome=Outcome.CANCELLED)]
    )
    run = one.drain(30)

    assert run.settled["a"] == before
    assert sum(w.requests for w in run.windows) == before.energy
    assert sum(w.counter for w in run.windows) == 990 * MICRO


def test_a_short_settlement_delay_is_kept(bench: Any, make: Any) -> None:
    """Who asks for final figures after two seconds does not wait ten for a fit."""
    one = bench("step-clock", settle=2)
    one.feed([make.opened("a", 1.0), make.closed("a", 3.0, 10, 100)])
    feed(one, make, 0, 8)
    for t in range(9):
        one.advance(t)

    assert one.run.settled["a"].final
