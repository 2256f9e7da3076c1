"""The integer units and the doors out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.units import (
    Micrograms,
    Microjoules,
    Microwatts,
    Nanoseconds,
    energy_over,
    grams,
    joules,
    kilograms,
    nanoseconds,
    seconds,
    watts,
)


def test_base_units_at_the_door_out() -> None:
    """Joules, grams, seconds and watts, and kg for people."""
    assert joules(Microjoules(1_500_000)) == 1.5
    assert grams(Micrograms(2_500_000)) == 2.5
    assert kilograms(Micrograms(3_000_000_000)) == 3.0
    assert seconds(Nanoseconds(250_000_000)) == 0.25
    assert watts(Microwatts(700_000_000)) == 700.0


@given(st.integers(0, 10**15))
def test_nanoseconds_come_back(time: int) -> None:
    """A time that left in seconds comes in as it was, to the resolution of a float."""
    assert nanoseconds(seconds(Nanoseconds(time))) == pytest.approx(time, abs=1)


def test_constant_power_over_a_time() -> None:
    """700 W for 100 ms is 70 J; what is less than a microjoule is not made up."""
    assert energy_over(Microwatts(700_000_000), Nanoseconds(100_000_000)) == 70_000_000
    assert energy_over(Microwatts(1), Nanoseconds(999_999_999)) == 0
