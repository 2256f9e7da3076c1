"""Provisional figures."""

from typing import Any

import numpy as np

from joulegate.attribution.booking.account import Account
from joulegate.attribution.booking.books import Allocation, book
from joulegate.attribution.booking.previews import expect, expected, first_estimates, fresh
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import table
from joulegate.attribution.input.windows import Window
from joulegate.model import DeviceId
from joulegate.units import MICRO

A = DeviceId("a")


def one(make: Any, key: str, start: float, end: float | None) -> Account:
    account = Account(RequestInput(make.opened(key, start), 0, 0))
    if end is not None:
        account.request.take(make.closed(key, end))
    return account


def half(account: Account) -> Allocation:
    """The accounts of a window of which a request drew a half."""
    return Allocation(
        accounts=[account], rows=table([account.request]), window=np.array([0]),
        request=np.array([0]), weight=np.ones(1),
        static=None, alternatives=np.full((1, 6), 2.0), late=np.zeros(1), idle=np.ones(1),
        foreign=np.zeros(1), method="model",
    )  # fmt: skip


def window(joules: int) -> Window:
    return Window(0, 10**9, {A: joules * MICRO}, {})


def test_who_ended_is_given_a_figure_once(make: Any) -> None:
    """Not who runs, who ended just now, or who had one."""
    ended, late, runs = one(make, "a", 1.0, 2.0), one(make, "b", 1.0, 9.0), one(make, "c", 1.0, None)

    assert fresh([ended, late, runs], 5.0) == [ended]
    expected([ended], [], None, "step-clock", set())
    assert fresh([ended, late, runs], 5.0) == []


def test_what_is_booked_and_what_is_expected_add_up(make: Any) -> None:
    """A part of its windows is booked already."""
    account = one(make, "a", 1.0, 2.0)
    book([window(8)], half(account), [0], {0})
    (figure,) = expected([account], [window(10)], half(account), "step-clock", set())

    assert figure.energy == (4 + 5) * MICRO
    assert not figure.final


def test_the_first_sight_of_a_window_counts_once_also_when_it_is_booked(make: Any) -> None:
    """A long request among many: early windows are booked before it ends."""
    account, early = one(make, "a", 1.0, 2.0), window(8)
    expect([early], half(account), set())
    book([early], half(account), [0], {0})
    expect([window(10)], half(account), set())
    (figure,) = first_estimates([account], "step-clock")

    assert figure.energy == (4 + 5) * MICRO
    assert account.previewed
    assert first_estimates([], "step-clock") == []
