"""The account of one request."""

from typing import Any

import numpy as np
import pytest

from joulegate.attribution.booking.account import Account
from joulegate.attribution.input.request import RequestInput
from joulegate.model import DeviceId

A = DeviceId("a")


def test_charges_add_up_by_device_and_method(make: Any) -> None:
    """Energy, its static part, what was wasted and what other fits would say."""
    one = Account(RequestInput(make.opened("1", 0.0), 0, 0))
    one.charge(A, 10, 4, 1, "model", np.full(6, 1.0))
    one.charge(A, 5, 1, 0, "estimate", np.full(6, 2.0))

    assert (one.booked, one.static, one.wasted) == ({A: 15}, {A: 5}, 1)
    assert one.methods == {"model": 10, "estimate": 5}
    assert one.alternatives == pytest.approx(np.full(6, 3.0))


def test_a_part_that_was_not_split_leaves_no_static_energy(make: Any) -> None:
    """Half a split says nothing about the whole."""
    one = Account(RequestInput(make.opened("1", 0.0), 0, 0))
    for static in (4, None, 4):
        one.charge(A, 10, static, 0, "model", None)

    assert one.static is None
