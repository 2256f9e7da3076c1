"""Quantities as people write them, ``"40 kWh"`` or ``"250 ms"``, turned into whole base units.

Pure. Units are case-sensitive, because ``mJ`` and ``MJ`` differ by a factor of a thousand million.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from msgspec import Struct

from joulegate.config.fields import Text
from joulegate.errors import ConfigError
from joulegate.units import (
    MICRO,
    UJ_PER_KWH,
    Micrograms,
    Microjoules,
    Microwatts,
    Nanoseconds,
    grams,
)

MOST_INTENSE = Micrograms(2_000 * MICRO)
"""CO2e per kWh. The dirtiest grid of the shipped table emits 1,306 g; more is a slip of a unit."""

_FORM = re.compile(r"\s*([+-]?)([0-9]{1,15}(?:\.[0-9]{1,12})?)\s*(\S{0,20})\s*", re.ASCII)
"""A plain decimal number and a unit; no exponent, so that no text stands for an endless integer."""

_DURATION = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9,
}  # fmt: skip
_ENERGY = {
    "J": 10**6, "kJ": 10**9, "MJ": 10**12, "GJ": 10**15,
    "Wh": UJ_PER_KWH // 10**3, "kWh": UJ_PER_KWH, "MWh": UJ_PER_KWH * 10**3, "GWh": UJ_PER_KWH * 10**6,
}  # fmt: skip
_MASS = {"mg": 10**3, "g": 10**6, "kg": 10**9, "t": 10**12}
_POWER = {"mW": 10**3, "W": 10**6, "kW": 10**9}
_INTENSITY = {"g/kWh": 10**6, "kg/MWh": 10**6, "t/GWh": 10**6, "kg/kWh": 10**9}


def duration(text: str) -> Nanoseconds:
    """Return a duration. Raises ``ConfigError`` that names the units."""
    return Nanoseconds(_whole(text, _DURATION, "duration", "'250 ms'"))


def duration_between(least: str, most: str) -> Text:
    """Return how a duration is written that may not be shorter or longer than these."""
    low, high = duration(least), duration(most)

    def parse(text: str) -> Nanoseconds:
        found = duration(text)
        if not low <= found <= high:
            raise ConfigError(f"{text!r} is not between {least} and {most}")
        return found

    return Text(parse, duration_text, f"{least} to {most}")


def duration_text(time: Nanoseconds) -> str:
    """Return a duration as it would be written in a file: whole days, seconds or less, whatever is exact."""
    units = [unit for unit in ("d", "s", "ms", "us", "ns") if time % _DURATION[unit] == 0]
    unit = units[0] if time else "s"
    return f"{time // _DURATION[unit]} {unit}"


def power(text: str) -> Microwatts:
    """Return a power. Raises ``ConfigError`` that names the units."""
    return Microwatts(_whole(text, _POWER, "power", "'5 W'"))


def energy(text: str) -> Microjoules:
    """Return an energy. Raises ``ConfigError`` that names the units."""
    return Microjoules(_whole(text, _ENERGY, "energy", "'40 kWh'"))


def intensity(text: str) -> Micrograms:
    """Return a carbon intensity in micrograms CO2e per kWh.

    Raises ``ConfigError`` that names the units, or for more than any grid emits.
    """
    found = Micrograms(_whole(text, _INTENSITY, "carbon intensity", "'56 g/kWh'"))
    if found > MOST_INTENSE:
        raise ConfigError(
            f"{text!r} is more than {grams(MOST_INTENSE):g} g/kWh, which no grid emits: check the unit"
        )
    return found


def intensity_text(mass: Micrograms) -> str:
    """Return a carbon intensity as it would be written in a file."""
    return f"{(Decimal(mass) / MICRO).normalize():f} g/kWh"


class Limit(Struct, frozen=True):
    """What a budget allows: an energy or a mass of CO2e."""

    unit: Literal["joules", "grams"]
    amount: int
    """Microjoules or micrograms."""

    def __str__(self) -> str:
        unit, scale = ("Wh", UJ_PER_KWH // 1000) if self.unit == "joules" else ("g", MICRO)
        return f"{self.amount / scale:g} {unit}"


def limit(text: str) -> Limit:
    """Return an energy or a mass, as the unit says. Raises ``ConfigError``, also for nothing at all."""
    amount = _whole(text, {**_ENERGY, **_MASS}, "energy or a mass of CO2e", "'40 kWh' or '8 kg'")
    if amount == 0:
        raise ConfigError(f"{text!r} allows nothing: write for example '40 kWh' or '8 kg'")
    matched = _FORM.fullmatch(text)
    return Limit("joules" if matched is not None and matched[3] in _ENERGY else "grams", amount)


def _whole(text: str, units: Mapping[str, int], what: str, example: str) -> int:
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{text[:60]!r} is no {what}: a number and a unit are needed, for example {example}"
        )
    sign, number, unit = match.groups()
    if sign == "-":
        raise ConfigError(f"{text!r} is negative; a {what} is zero or more")
    if unit not in units:
        raise ConfigError(f"{text!r}: {_unit_problem(unit, units)}, for example {example}")
    # Half a smallest unit is rounded to even; "0.1 s" is exact because the number never is a float.
    return round(Fraction(number) * units[unit])


def _unit_problem(unit: str, units: Mapping[str, int]) -> str:
    allowed = f"use {', '.join(units)}"
    if not unit:
        return f"the unit is missing; {allowed}"
    near = [known for known in units if known.casefold() == unit.casefold()]
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"unknown unit {unit!r}{hint}; {allowed}"
