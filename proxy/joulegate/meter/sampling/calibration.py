"""Sensor errors of single boards, found with an external meter: gain and offset by device.

Sensors step and blink, but steadily: gain errors from -8 % to +13 % per card with a spread of 0.1 to
1 point (GPU_Power_Benchmark, https://github.com/JimZeyuYang/GPU_Power_Benchmark, the data of
arXiv 2312.02741), so two readings of a meter remove most of the error. The file keeps the readings, not
the result: what was measured can be judged and fitted again.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from pathlib import Path

import msgspec
from msgspec import Struct

from joulegate.config.quantities import power
from joulegate.errors import ConfigError
from joulegate.units import MICRO, Microwatts, watts

LEAST_GAIN, MOST_GAIN = Fraction(1, 2), Fraction(3, 2)
"""The worst board of the benchmark is 13 % off; beyond half as much again the readings are mixed up."""
MOST_OFFSET = Microwatts(100 * MICRO)
"""A larger one is the rest of the machine, which the meter saw too."""
LEAST_SPAN = Microwatts(5 * MICRO)
"""Between the sensor's lowest and highest reading; less leaves the gain to the noise."""


class CalibrationReading(Struct, frozen=True, forbid_unknown_fields=True):
    """What meter and sensor showed at the same steady load."""

    meter: str
    """The truth, for example ``71.3 W``."""
    sensor: str


class CalibrationEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One device in the file."""

    date: date
    readings: tuple[CalibrationReading, ...]
    note: str = ""
    """Which meter, at which point of the supply."""


class Calibration(Struct, frozen=True):
    """The true power is ``gain`` x the shown power + ``offset``."""

    gain: Fraction
    offset: Microwatts
    """May be negative."""
    date: date


def fit(entry: CalibrationEntry, where: str) -> Calibration:
    """Return the straight line through the readings, exactly; least squares for more than two.

    ``where`` names the place in messages. Raises ``ConfigError`` with the remedy.
    """
    pairs = [_watts(reading, where) for reading in entry.readings]
    if len(pairs) < 2:
        raise ConfigError(f"{where}: two readings are needed, one idle and one under load; got {len(pairs)}")
    shown = [sensor for _, sensor in pairs]
    if max(shown) - min(shown) < LEAST_SPAN:
        raise ConfigError(
            f"{where}: the sensor's readings lie within {watts(LEAST_SPAN):g} W, too near for a gain: "
            "take one idle and one at full load"
        )
    gain, offset = _line(pairs)
    if not LEAST_GAIN <= gain <= MOST_GAIN:
        raise ConfigError(
            f"{where}: a gain of {float(gain):.3f} is not between {float(LEAST_GAIN)} and "
            f"{float(MOST_GAIN)}: write the meter's watts first, the sensor's second, both at the same load"
        )
    if abs(offset) > MOST_OFFSET:
        raise ConfigError(
            f"{where}: an offset of {offset / MICRO:+.1f} W is beyond {watts(MOST_OFFSET):g} W: take off "
            "what the rest of the machine draws, or meter the board alone"
        )
    return Calibration(gain, offset, entry.date)


def load(path: Path) -> dict[str, Calibration]:
    """Return the calibration of each device in a file. Raises ``ConfigError`` that names file and device."""
    return {device: fit(entry, f"{path}: {device}") for device, entry in entries(path).items()}


def configured(file: str) -> dict[str, Calibration]:
    """Return what the configuration names; an empty name corrects nothing. Raises ``ConfigError``."""
    return load(Path(file).expanduser()) if file else {}


def entries(path: Path) -> dict[str, CalibrationEntry]:
    """Return what a file says by device. Raises ``ConfigError``."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, CalibrationEntry])
    except OSError as error:
        raise ConfigError(f"the calibration file {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path} is no calibration file: {error}; see docs/calibration.md") from error


def text(found: Mapping[str, CalibrationEntry]) -> str:
    """Return the file that says this, for people to read and keep."""
    return "\n".join(_table(device, entry) for device, entry in found.items())


def _watts(reading: CalibrationReading, where: str) -> tuple[Microwatts, Microwatts]:
    try:
        return power(reading.meter), power(reading.sensor)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _line(pairs: Sequence[tuple[Microwatts, Microwatts]]) -> tuple[Fraction, Microwatts]:
    count = len(pairs)
    middle_y, middle_x = (Fraction(sum(column), count) for column in zip(*pairs, strict=True))
    above = sum((y - middle_y) * (x - middle_x) for y, x in pairs)
    gain = Fraction(above) / sum((x - middle_x) ** 2 for _, x in pairs)
    return gain, Microwatts(round(middle_y - gain * middle_x))


def _table(device: str, entry: CalibrationEntry) -> str:
    lines = [f"[{_quoted(device)}]", f"date = {entry.date.isoformat()}"]
    if entry.note:
        lines.append(f"note = {_quoted(entry.note)}")
    rows = [
        f"  {{ meter = {_quoted(reading.meter)}, sensor = {_quoted(reading.sensor)} }},"
        for reading in entry.readings
    ]
    return "\n".join([*lines, "readings = [", *rows, "]", ""])


def _quoted(text: str) -> str:
    """Return a basic string of TOML: JSON's form, with DEL escaped too (TOML 1.0, section String)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
