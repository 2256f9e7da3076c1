"""Only numbers that can be true become facts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing import values
from joulegate.model import Fact, FactSource


@pytest.mark.parametrize("lie", [-1, 10**18, -0.6, float("nan"), True, "seven", "", "1e99", None, [], {}])
def test_what_cannot_be_a_count_is_none(lie: object) -> None:
    """Negative, enormous, fractional, worded: all unknown."""
    assert values.count(lie) is None
    assert values.fact(lie) is None


@given(number=st.integers(0, values.CEILING))
def test_counts_are_kept(number: int) -> None:
    """Zero too is a count."""
    assert values.fact(number) == Fact(number)
    assert values.derived(number) == Fact(number, FactSource.DERIVED)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, 0),
        (1.5, 1_500_000),
        (-1, None),
        (float("inf"), None),
        (True, None),
        ("1.5", 1_500_000),
        ("x", None),
    ],
)
def test_milliseconds_become_nanoseconds(value: object, wanted: int | None) -> None:
    """A duration is a finite number that is not negative."""
    assert values.milliseconds(value) == wanted


def test_seconds_become_nanoseconds() -> None:
    """A recording of 7.25 s."""
    assert values.seconds(7.25) == 7_250_000_000
    assert values.seconds(-1) is None


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b'"gpt"', "gpt"),
        (b'""', None),
        (b"7", None),
        (b'"\\ud800"', None),
        (b'"' + b"m" * 513 + b'"', None),
        (None, None),
    ],
)
def test_names_are_short_strings(raw: bytes | None, wanted: str | None) -> None:
    """Numbers, lone surrogates and novels are no names."""
    assert values.word(raw) == wanted


@pytest.mark.parametrize(
    ("raw", "wanted"), [(b"7", 7), (b'"7"', 7), (b"-1", None), (b"7.5", 8), (b'"x"', None), (None, None)]
)
def test_forms_write_numbers_as_text(raw: bytes | None, wanted: int | None) -> None:
    """A number and a string of digits are one."""
    assert values.whole(raw) == wanted


@pytest.mark.parametrize(
    ("raw", "wanted"), [(b"true", True), (b'"false"', False), (b"1", None), (None, None)]
)
def test_flags(raw: bytes | None, wanted: bool | None) -> None:
    """A boolean, or its word as forms have it."""
    assert values.flag(raw) is wanted


@pytest.mark.parametrize(
    ("raw", "wanted"), [(b'"512x768"', (512, 768)), (b'"auto"', None), (b'"1x2x3"', None), (b"512", None)]
)
def test_sizes(raw: bytes, wanted: tuple[int, int] | None) -> None:
    """``auto`` is not known."""
    assert values.area(raw) == wanted


def test_not_a_number_is_null() -> None:
    """Python servers write ``NaN``; the members beside it are read all the same."""
    assert values.decode(b'{"a":NaN,"b":[-Infinity, 1]}', dict[str, object]) == {"a": None, "b": [None, 1]}
    assert values.decode(b'{"a":', dict[str, object]) is None
