"""Booking windows."""

from typing import Any

from joulegate.attribution.books import Claim, Verdict, Window, book, preview
from joulegate.attribution.spans import Span
from joulegate.model import DeviceId, Outcome

A, B = DeviceId("a"), DeviceId("b")


def window(**more: Any) -> Window:
    return Window(0, 10**9, {A: 1001, B: 10}, {}, **more)


def claim(span: Span, weight: float) -> Claim:
    return Claim(span, weight, 0.0, (), 0.0)


def test_every_device_is_split_exactly(make: Any) -> None:
    """The same shares are applied to each device's own integer."""
    one, two = Span(make.opened("1", 0.1), 0, 0), Span(make.opened("2", 0.1), 0, 1)
    books = book(window(), Verdict([claim(one, 3.0), claim(two, 1.0)], 0.0, 0.0, "tokens"))

    assert [one.error() for one in books] == [0, 0]
    assert one.booked == {A: 751, B: 8}
    assert two.booked == {A: 250, B: 2}


def test_no_verdict_loses_energy() -> None:
    """A window without any claim or weight is idle."""
    books = book(window(), Verdict([], 0.0, 0.0, "tokens"))

    assert [one.idle for one in books] == [1001, 10]


def test_a_figure_that_is_out_does_not_change(make: Any) -> None:
    """What comes for a request after its final figure is nobody's."""
    late = Span(make.opened("1", 0.1), 0, 0)
    late.done = True
    books = book(window(), Verdict([claim(late, 1.0)], 0.0, 0.0, "tokens"))

    assert late.booked == {}
    assert books[0].unattributed == (("meter", 1001),)
    assert books[0].error() == 0


def test_orphans_leave_their_energy_with_the_reason(make: Any) -> None:
    """A crash of the gate is an account of its own."""
    orphan = Span(make.opened("1", 0.1), 0, 0)
    orphan.take(make.closed("1", 0.5, outcome=Outcome.ORPHANED))

    assert book(window(), Verdict([claim(orphan, 1.0)], 0.0, 0.0, "tokens"))[0].unattributed == (
        ("crash", 1001),
    )


def test_what_a_blind_window_leaves_is_not_idle() -> None:
    """If requests were given up in it, nobody knows what the rest was."""
    assert book(window(blind=True), Verdict([], 1.0, 0.0, "tokens"))[0].unattributed == (("meter", 1001),)


def test_a_preview_books_nothing(make: Any) -> None:
    """Provisional figures leave the accounts alone."""
    one = Span(make.opened("1", 0.1), 0, 0)
    found = preview([window()], [Verdict([claim(one, 1.0)], 1.0, 0.0, "tokens")], {"1"})

    assert found["1"][0] == 1011 / 2 / 1e6
    assert one.booked == {}


def test_a_window_all_in_the_dark_is_not_known() -> None:
    """Unknown is not zero."""
    assert not Window(0, 10, {A: 0}, {A: 10}).known
    assert Window(0, 10, {A: 0, B: 5}, {A: 10}).known
