"""When windows and requests are settled."""

from collections import Counter
from typing import Any

from joulegate.attribution.booking.group import PIECE_REQUESTS
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

    assert len(group._requests) < 20
    assert len(group._accounts) < 20
    assert len(group.unsettled) < 20
    assert len(group._booked) < 60
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
    one.feed([make.chunks("a", [4.0]), make.closed("a", 9.0, outcome=Outcome.CANCELLED)])
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


class Watched:
    """A rule that notes how many windows it was shown at once, and how often each."""

    def __init__(self, rule: Any) -> None:
        self._rule = rule
        self.shown: Counter[int] = Counter()
        self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rule, name)

    def share(self, features: Any, *, learn: bool) -> Any:
        self.shown.update(features.readings.starts)
        self.most = max(self.most, len(features.requests))
        return self._rule.share(features, learn=learn)


def test_a_crowd_is_looked_at_in_pieces_and_each_window_twice(bench: Any, make: Any) -> None:
    """Once when it is new and once when it is booked; every request gets both figures and the books close."""
    one = bench("step-clock", settle=4)
    one.settler.sample(make.reading(0, 0))
    watched = one.settler._groups[0].rule = Watched(one.settler._groups[0].rule)
    for tenth in range(100):
        t = tenth / 10
        one.feed([make.reading(t + i / 50, 100 * (t + i / 50)) for i in range(1, 5)])
        for place in range(150 if tenth < 60 else 0):
            key, start = f"{tenth}-{place}", t + place / 2000
            one.feed([make.opened(key, start), make.closed(key, start + 0.02, 20, 100)])
        if tenth % 2:
            one.advance(t + 0.1)
    crowded = [watched.shown[start] for start in sorted(watched.shown)[10:15]]
    run = one.drain(12)

    assert max(crowded) <= 2
    assert watched.most < 3 * PIECE_REQUESTS
    assert len(run.settled) == 150 * 60
    assert len(run.provisional) > 100 * 60
    assert sum(figure.energy for figure in run.settled.values()) == sum(w.requests for w in run.windows)
    assert all(books.error() == 0 for books in run.windows)
    assert sum(books.counter for books in run.windows) == 998 * MICRO
