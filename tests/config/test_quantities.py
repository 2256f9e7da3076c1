"""Quantities as people write them become whole base units."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.config.quantities import duration, energy, intensity, limit, power
from joulegate.errors import ConfigError
from joulegate.units import UJ_PER_KWH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250 ms", 250_000_000),
        ("250ms", 250_000_000),
        (" 0.1 s ", 100_000_000),
        ("1.5 min", 90 * 10**9),
        ("2 h", 7_200 * 10**9),
        ("30 d", 30 * 86_400 * 10**9),
        ("7 ns", 7),
        ("3 us", 3_000),
        ("0 s", 0),
    ],
)
def test_duration(text: str, expected: int) -> None:
    """Durations are whole nanoseconds."""
    assert duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40 kWh", ("joules", 40 * UJ_PER_KWH)),
        ("500 Wh", ("joules", UJ_PER_KWH // 2)),
        ("3 MJ", ("joules", 3 * 10**12)),
        ("8 kg", ("grams", 8 * 10**9)),
        ("750 g", ("grams", 750 * 10**6)),
        ("0.25 t", ("grams", 25 * 10**10)),
    ],
)
def test_limit(text: str, expected: tuple[str, int]) -> None:
    """A limit is an energy or a mass, as its unit says."""
    found = limit(text)
    assert (found.unit, found.amount) == expected


def test_power_and_intensity() -> None:
    """Powers are whole microwatts, intensities whole micrograms per kWh."""
    assert power("5 W") == 5_000_000
    assert power("1.5 mW") == 1_500
    assert intensity("56 g/kWh") == 56_000_000
    assert intensity("0.056 kg/kWh") == intensity("56 kg/MWh") == intensity("56 g/kWh")
    assert energy("1 kJ") == 10**9


@pytest.mark.parametrize("parse", [duration, power, energy, limit, intensity])
@pytest.mark.parametrize(
    "text", ["", "5", "W", "-5 W", "1e9 s", "nan s", "inf J", "5 parsecs", "\u0665 s", "1_0 s", "1 s s"]
)
def test_refusal_names_units_and_an_example(parse: Callable[[str], object], text: str) -> None:
    """What is no quantity of the kind is refused with an example of one."""
    with pytest.raises(ConfigError, match=r"for example|negative"):
        parse(text)


def test_a_slip_of_case_is_hinted_at() -> None:
    """Units differ by case, so a slip is refused with the unit that was meant."""
    with pytest.raises(ConfigError, match=r"did you mean kWh\?"):
        limit("40 kwh")
    with pytest.raises(ConfigError, match=r"did you mean mW\?"):
        power("3 MW")


@given(st.decimals(min_value=0, max_value=10**12, places=6))
def test_no_digit_is_lost(number: Decimal) -> None:
    """A number with up to nine decimals of a second is exact, whatever its size."""
    assert duration(f"{number:f} s") == int(number * 10**9)


@given(st.text())
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    """Whatever the text, the answer is a number of zero or more, or a clear refusal."""
    try:
        found = duration(text)
    except ConfigError:
        with pytest.raises(ConfigError, match=r"for example|negative"):
            duration(text)
    else:
        assert found >= 0
