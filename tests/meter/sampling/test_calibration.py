"""Two readings of a meter give a gain and an offset; nonsense is refused with the remedy."""

from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.errors import ConfigError
from joulegate.meter.sampling.calibration import (
    CalibrationEntry,
    CalibrationReading,
    entries,
    fit,
    load,
    text,
)

DAY = date(2026, 11, 23)
GOOD = CalibrationEntry(
    DAY, (CalibrationReading("65 W", "61.5 W"), CalibrationReading("700 W", "661.5 W")), "inline meter"
)


def entry(*readings: tuple[str, str]) -> CalibrationEntry:
    return CalibrationEntry(DAY, tuple(CalibrationReading(*reading) for reading in readings))


def test_the_line_goes_exactly_through_two_readings() -> None:
    """The corrected sensor shows what the meter showed."""
    found = fit(GOOD, "GPU-a")
    assert found.gain == Fraction(635, 600)
    assert found.offset == round((65 - Fraction(635, 600) * Fraction("61.5")) * 10**6)
    assert found.date == DAY


@given(gain=st.integers(600, 1400), offset=st.integers(-30, 100), more=st.sets(st.integers(60, 700)))
def test_many_readings_of_one_sensor_agree(gain: int, offset: int, more: set[int]) -> None:
    """Least squares find the very gain and offset when all readings lie on one line."""
    readings = [
        (f"{(gain * sensor + 1000 * offset) / 1000:.3f} W", f"{sensor} W") for sensor in {100, 300, *more}
    ]
    found = fit(entry(*readings), "GPU-a")
    assert (found.gain, found.offset) == (Fraction(gain, 1000), offset * 10**6)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (entry(("65 W", "61 W")), "two readings are needed"),
        (entry(), "got 0"),
        (entry(("65 W", "61 W"), ("66 W", "62 W")), "too near for a gain"),
        (entry(("61 W", "65 W"), ("700 W", "300 W")), "gain of 2.719 is not between 0.5 and 1.5"),
        (entry(("61 W", "65 W"), ("300 W", "700 W")), "the meter's watts first"),
        (entry(("261 W", "60 W"), ("901 W", "700 W")), r"offset of \+201.0 W is beyond 100 W: take off"),
        (entry(("65", "61 W"), ("700 W", "661 W")), "the unit is missing"),
        (entry(("-65 W", "61 W"), ("700 W", "661 W")), "negative"),
    ],
)
def test_readings_that_make_no_sense_are_refused(bad: CalibrationEntry, words: str) -> None:
    """The message names the device and says what to do."""
    with pytest.raises(ConfigError, match=f"GPU-a: .*{words}"):
        fit(bad, "GPU-a")


def test_a_file_keeps_what_was_measured(tmp_path: Path) -> None:
    """Written and read again, nothing has changed, whatever the note says."""
    found = {"GPU-a": GOOD, 'GPU-"b\x7f\\': CalibrationEntry(DAY, GOOD.readings, "zwei\nZeilen \U0001f50c")}
    path = tmp_path / "calibration.toml"
    path.write_text(text(found), encoding="utf-8")
    assert entries(path) == found
    assert load(path)["GPU-a"] == fit(GOOD, "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[GPU", "is no calibration file"),
        (b"\xff", "is no calibration file"),
        (b'["GPU-a"]\nreadings = []\n', "missing required field `date`"),
        (b'["GPU-a"]\ndate = 2026-11-23\nreadings = []\ngian = 1\n', "unknown field `gian`"),
        (b'["GPU-a"]\ndate = 2026-11-23\nreadings = []\n', "GPU-a: two readings"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """The message names the file."""
    path = tmp_path / "calibration.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as refused:
        load(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A calibration that was asked for and is not applied would be a silent error."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")
