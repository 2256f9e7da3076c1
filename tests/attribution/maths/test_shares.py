"""Splitting integers."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.attribution.maths.shares import split

weights = st.lists(st.floats(min_value=0, allow_nan=False, allow_infinity=False), min_size=1, max_size=60)


@given(st.integers(0, 10**18), weights)
def test_the_parts_always_add_up(total: int, shares: list[float]) -> None:
    """Whatever the weights, every unit is in exactly one part and no part is negative."""
    parts = split(total, np.array(shares)).tolist()

    assert sum(parts) == total
    assert min(parts) >= 0
    assert len(parts) == len(shares)


@given(st.integers(0, 10**12), st.lists(st.floats(0.001, 1000), min_size=1, max_size=40))
def test_no_part_is_a_unit_off(total: int, shares: list[float]) -> None:
    """Each part is within one unit of its exact value."""
    scale = math.fsum(shares)

    for part, share in zip(split(total, np.array(shares)).tolist(), shares, strict=True):
        assert abs(part - total * share / scale) <= 1 + 1e-3


@given(st.integers(0, 10**12), st.lists(st.floats(0, 1000), min_size=2, max_size=40))
def test_more_weight_is_never_less_energy(total: int, shares: list[float]) -> None:
    """Of two weights the larger one gets at least as much, but for the unit of the remainder."""
    parts = split(total, np.array(shares)).tolist()
    ranked = sorted(zip(shares, parts, strict=True))

    for (_, smaller), (_, larger) in pairwise(ranked):
        assert larger >= smaller - 1


def test_ties_go_to_the_earlier() -> None:
    """Equal weights get equal parts, the remainder from the first on."""
    assert split(11, np.ones(3)).tolist() == [4, 4, 3]


@pytest.mark.parametrize("shares", [[0.0, 0.0], [math.nan, -1.0], [math.inf]])
def test_weights_that_say_nothing_lose_nothing(shares: list[float]) -> None:
    """Zero, negative and impossible weights still share the whole energy."""
    assert int(split(1001, np.array(shares)).sum()) == 1001


def test_a_weight_of_nothing_gets_nothing_beside_others() -> None:
    """Who did nothing pays nothing."""
    assert split(1000, np.array([1.0, 0.0, math.nan])).tolist() == [1000, 0, 0]


def test_no_account_is_an_error() -> None:
    """An energy without any account cannot be booked."""
    with pytest.raises(ValueError, match="account"):
        split(1, np.empty(0))
