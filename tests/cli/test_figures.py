"""Figures as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.cli.figures import amount, counted, energy, mass, power, printable, share, span
from joulegate.units import NANO, UJ_PER_KWH, Micrograms, Microjoules, Microwatts, Nanoseconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 J"), (1, "1.00 J"), (12.34, "12.3 J"), (123.4, "123 J"), (999.9, "1.00 kJ"),
        (1_234, "1.23 kJ"), (5e6, "5.00 MJ"), (0.5, "500 mJ"), (0.0005, "500 µJ"), (2e9, "2.00 GJ"),
    ],
)  # fmt: skip
def test_three_digits(value: float, expected: str) -> None:
    """No more digits than can be defended."""
    assert amount(value, "J") == expected


def test_energy_mass_and_power() -> None:
    """Joules below a watt-hour, watt-hours above; unknown is no zero."""
    assert energy(Microjoules(1_500_000)) == "1.50 J"
    assert energy(Microjoules(UJ_PER_KWH)) == "1.00 kWh"
    assert energy(Microjoules(UJ_PER_KWH // 1_000)) == "1.00 Wh"
    assert mass(Micrograms(56_000_000)) == "56.0 g"
    assert power(Microwatts(312_400_000)) == "312.4 W"
    assert energy(None) == mass(None) == power(None) == "-"


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 requests"), (1, "1 request"), (2, "2 requests"), (1_500, "1,500 requests")],
)
def test_one_is_not_many(number: int, expected: str) -> None:
    """A number agrees with its noun."""
    assert counted(number, "request") == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"), [(1, 4, "25 %"), (0, 4, "0 %"), (1, 0, "-"), (9, 8, "112 %")]
)
def test_share(part: int, whole: int, expected: str) -> None:
    """A share of nothing is not known."""
    assert share(part, whole) == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [(5, "5 s"), (65, "1 min 5 s"), (3_660, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_span(time: int, expected: str) -> None:
    """Two units are enough."""
    assert span(Nanoseconds(time * NANO)) == expected


@given(st.text())
def test_nothing_unprintable_reaches_the_terminal(text: str) -> None:
    """A model's name is somebody else's text."""
    shown = printable(text, 10)
    assert shown.isprintable()
    assert len(shown) <= 10
