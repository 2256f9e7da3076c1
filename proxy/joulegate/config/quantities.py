"""Quantities as people write them, ``"40 kWh"`` or ``"250 ms"``, turned into whole base units.

Pure. Units are case-sensitive, because ``mJ`` and ``MJ`` differ by a factor of a thousand million.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

from joulegate.errors import ConfigError
from joulegate.units import UJ_PER_KWH, Micrograms, Microjoules, Microwatts, Nanoseconds

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


def power(text: str) -> Microwatts:
    """Return a power. Raises ``ConfigError`` that names the units."""
    return Microwatts(_whole(text, _POWER, "power", "'5 W'"))


def energy(text: str) -> Microjoules:
    """Return an energy. Raises ``ConfigError`` that names the units."""
    return Microjoules(_whole(text, _ENERGY, "energy", "'40 kWh'"))


def intensity(text: str) -> Micrograms:
    """Return a carbon intensity in micrograms CO2e per kWh. Raises ``ConfigError`` that names the units."""
    return Micrograms(_whole(text, _INTENSITY, "carbon intensity", "'56 g/kWh'"))


def energy_or_mass(text: str) -> tuple[Literal["joules", "grams"], int]:
    """Return ``("joules", microjoules)`` or ``("grams", micrograms)``, as the unit says."""
    amount = _whole(text, {**_ENERGY, **_MASS}, "energy or a mass of CO2e", "'40 kWh' or '8 kg'")
    return ("joules" if _FORM.fullmatch(text)[3] in _ENERGY else "grams"), amount  # type: ignore[index]  # matched


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
