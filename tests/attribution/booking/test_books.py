"""Booking windows."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from joulegate.attribution.booking.account import Account
from joulegate.attribution.booking.books import Allocation, allocate, book, describe, preview
from joulegate.attribution.features.cells import Cells, ImageTrack
from joulegate.attribution.features.counter_lag import CounterLag
from joulegate.attribution.features.images import PlacedImage
from joulegate.attribution.features.window_features import (
    Claims,
    DeviceState,
    Shares,
    WindowFeatures,
    WindowReadings,
)
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import table
from joulegate.attribution.input.windows import Window
from joulegate.model import DeviceId, Outcome
from joulegate.units import Nanoseconds

A, B = DeviceId("a"), DeviceId("b")


def window(**more: Any) -> Window:
    return Window(0, 10**9, {A: 1001, B: 10}, {}, **more)


def accounts(*claims: tuple[Account, float], idle: float = 0.0, foreign: float = 0.0) -> Allocation:
    """The accounts of one window."""
    some = [account for account, _ in claims]
    return Allocation(
        accounts=some,
        rows=table([account.request for account in some]),
        window=np.zeros(len(claims), dtype=np.int64),
        request=np.arange(len(claims)),
        weight=np.array([weight for _, weight in claims], dtype=float),
        static=None,
        alternatives=None,
        late=np.zeros(len(claims)),
        idle=np.array([idle]),
        foreign=np.array([foreign]),
        method="tokens",
    )


def test_every_device_is_split_exactly(make: Any) -> None:
    """The same shares are applied to each device's own integer."""
    one, two = (
        Account(RequestInput(make.opened("1", 0.1), 0, 0)),
        Account(RequestInput(make.opened("2", 0.1), 0, 1)),
    )
    books = book([window()], accounts((one, 3.0), (two, 1.0)), [0], {0, 1})

    assert [one.error() for one in books] == [0, 0]
    assert one.booked == {A: 751, B: 8}
    assert two.booked == {A: 250, B: 2}
    assert one.measured


def test_what_a_request_draws_in_many_windows_adds_up(make: Any) -> None:
    """Windows that are booked together are summed by request; only those chosen are booked."""
    one, two = (
        Account(RequestInput(make.opened("1", 0.1), 0, 0)),
        Account(RequestInput(make.opened("2", 0.1), 0, 1)),
    )
    windows = [Window(i * 10**9, (i + 1) * 10**9, {A: 100 * (i + 1)}, {}) for i in range(3)]
    found = Allocation(
        accounts=[one, two],
        rows=table([one.request, two.request]),
        window=np.array([0, 0, 1, 2]),
        request=np.array([0, 1, 0, 1]),
        weight=np.array([1.0, 3.0, 2.0, 5.0]),
        static=np.array([0.5, 0.0, 2.0, 1.0]),
        alternatives=np.full((4, 6), 1.0),
        late=np.array([0.0, 0.5, 0.0, 0.0]),
        idle=np.zeros(3),
        foreign=np.zeros(3),
        method="model",
    )
    books = book(windows, found, [0, 1], {0, 1})

    assert one.booked == {A: 25 + 200}
    assert one.static == {A: 12 + 200}
    assert (two.booked, two.wasted) == ({A: 75}, 37)
    assert one.alternatives == pytest.approx(np.full(6, 25e-6 + 100e-6))
    assert [books.requests for books in books] == [100, 200]


def test_no_verdict_loses_energy() -> None:
    """A window without any claim or weight is idle."""
    assert [one.idle for one in book([window()], accounts(), [0], {0, 1})] == [1001, 10]


def test_a_figure_that_is_out_does_not_change(make: Any) -> None:
    """What comes for a request after its final figure is nobody's."""
    late = Account(RequestInput(make.opened("1", 0.1), 0, 0))
    books = book([window()], accounts((late, 1.0)), [0], set())

    assert late.booked == {}
    assert books[0].unattributed == (("meter", 1001),)
    assert books[0].error() == 0


def test_orphans_leave_their_energy_with_the_reason(make: Any) -> None:
    """A crash of the gate is an account of its own."""
    orphan = Account(RequestInput(make.opened("1", 0.1), 0, 0))
    orphan.request.take(make.closed("1", 0.5, outcome=Outcome.ORPHANED))

    assert book([window()], accounts((orphan, 1.0)), [0], {0, 1})[0].unattributed == (("crash", 1001),)


def test_what_a_blind_window_leaves_is_not_idle() -> None:
    """If requests were given up in it, nobody knows what the rest was."""
    assert book([window(blind=True)], accounts(idle=1.0), [0], {0, 1})[0].unattributed == (("meter", 1001),)


def test_a_preview_books_nothing(make: Any) -> None:
    """Provisional figures leave the accounts alone."""
    one = Account(RequestInput(make.opened("1", 0.1), 0, 0))
    found, others = preview([window()], accounts((one, 1.0), idle=1.0), set())

    assert found == pytest.approx([1011 / 2 / 1e6])
    assert others is None
    assert one.booked == {}


def test_what_is_drawn_after_the_client_left_is_wasted(make: Any) -> None:
    """By the part of the request's time in the window that lies after it."""
    one = Account(RequestInput(make.opened("1", 0.5), 0, 0))
    one.request.take(replace(make.closed("1", 3.0), client_left=make.ns(1.5)))
    shares = Shares(
        Claims(np.arange(3), np.zeros(3, dtype=np.int64), np.ones(3)), np.zeros(3), np.zeros(3), "tokens"
    )
    found = allocate(features(one), shares, [one])

    assert found.late == pytest.approx([0.0, 0.5, 1.0])


def test_what_is_drawn_for_being_awake_is_told_only_where_idle_power_is_known(make: Any) -> None:
    """An assumed idle power splits nothing."""
    shares = Shares(
        Claims(np.arange(3), np.zeros(3, dtype=np.int64), np.ones(3)), np.zeros(3), np.zeros(3), "model",
        static=np.full(3, 0.5),
    )  # fmt: skip
    for known, static in ((True, {A: 3}), (False, None)):
        one = Account(RequestInput(make.opened("1", 0.5), 0, 0))
        book(
            [Window(i * 10**9, (i + 1) * 10**9, {A: 2}, {}) for i in range(3)],
            allocate(features(one, idle_known=known), shares, [one]),
            [0, 1, 2],
            {0},
        )

        assert one.booked == {A: 6}
        assert one.static == static


def features(account: Account, *, idle_known: bool = True) -> WindowFeatures:
    cells = Cells([0.0, 1.0, 2.0, 3.0])
    edges = np.array([[0.0, 3.0], [0.0, 30.0]])
    return WindowFeatures(
        cells,
        {"img/image": ImageTrack(cells, [PlacedImage(account.request, 0.5, 3.0, 1, 1, 1)])},
        WindowReadings([Nanoseconds(i) for i in range(3)], np.full(3, 10.0), edges),
        DeviceState(1, 70.0, idle_known),
        CounterLag(),
    )


def test_what_was_found_of_a_request_is_recorded_with_its_account(make: Any) -> None:
    """Its error bar needs the time on the device and how far the rule is from the counter."""
    one = Account(RequestInput(make.opened("1", 0.5), 0, 0))
    nothing = np.empty(0, dtype=np.int64)
    shares = Shares(Claims(nothing, nothing, np.empty(0)), np.zeros(3), np.zeros(3), "model", misfit=0.1)
    describe(features(one), shares, [one])

    assert (one.service, one.misfit, one.guessed_prompt) == (2.5, 0.1, False)


def test_a_window_all_in_the_dark_is_not_known() -> None:
    """Unknown is not zero."""
    assert not Window(0, 10, {A: 0}, {A: 10}).known
    assert Window(0, 10, {A: 0, B: 5}, {A: 10}).known
