"""The integer units and the doors out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.units import (
    UJ_PER_KWH,
    Micrograms,
    Microjoules,
    Microwatts,
    Nanoseconds,
    emissions_of,
    energy_over,
    grams,
    joules,
    kilograms,
    kilowatt_hours,
    nanoseconds,
    seconds,
    watts,
)

COUNTS = st.integers(0, 10**18)


def test_base_units_at_the_door_out() -> None:
    """Joules, grams, seconds and watts, and kWh and kg for people."""
    assert joules(Microjoules(1_500_000)) == 1.5
    assert kilowatt_hours(Microjoules(7_200_000_000_000)) == 2.0
    assert grams(Micrograms(2_500_000)) == 2.5
    assert kilograms(Micrograms(3_000_000_000)) == 3.0
    assert seconds(Nanoseconds(250_000_000)) == 0.25
    assert watts(Microwatts(700_000_000)) == 700.0


@given(COUNTS)
def test_a_kilowatt_hour_is_three_point_six_megajoules(energy: int) -> None:
    """The two headline units agree for every energy."""
    assert kilowatt_hours(Microjoules(energy)) * 3.6e6 == pytest.approx(
        joules(Microjoules(energy)), rel=1e-12
    )


@given(st.integers(0, 10**15))
def test_nanoseconds_come_back(time: int) -> None:
    """A time that left in seconds comes in as it was, to the resolution of a float."""
    assert nanoseconds(seconds(Nanoseconds(time))) == pytest.approx(time, abs=1)


def test_constant_power_over_a_time() -> None:
    """700 W for 100 ms is 70 J; what is less than a microjoule is not made up."""
    assert energy_over(Microwatts(700_000_000), Nanoseconds(100_000_000)) == 70_000_000
    assert energy_over(Microwatts(1), Nanoseconds(999_999_999)) == 0


@given(COUNTS, st.integers(0, 2_000_000_000))
def test_emissions_are_rounded_once(energy: int, intensity: int) -> None:
    """Energy times intensity, to the nearest microgram."""
    mass = emissions_of(Microjoules(energy), Micrograms(intensity))
    assert abs(mass * UJ_PER_KWH - energy * intensity) * 2 <= UJ_PER_KWH
