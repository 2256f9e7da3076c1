"""The integer units used inside, and the conversions at the doors.

Inside joulegate energy is whole microjoules, power whole microwatts, time whole nanoseconds of the
monotonic clock and emissions whole micrograms of CO2 equivalent. Each has a type of its own, so that a
checker refuses a sum of two kinds. Floats in base units exist only where a figure leaves the program.
"""

from typing import NewType

Microjoules = NewType("Microjoules", int)
Microwatts = NewType("Microwatts", int)
Nanoseconds = NewType("Nanoseconds", int)
"""Time on the monotonic clock of one host, or a duration."""
Micrograms = NewType("Micrograms", int)
"""Mass of CO2 equivalent."""

MICRO = 1_000_000
NANO = 1_000_000_000
UJ_PER_KWH = 3_600_000 * MICRO
"""Microjoules in a kilowatt-hour (3.6 MJ; SI Brochure, 9th edition, table 8)."""
UG_PER_KG = 1_000 * MICRO


def joules(energy: Microjoules) -> float:
    """Return the energy in joules."""
    return energy / MICRO


def watts(power: Microwatts) -> float:
    """Return the power in watts."""
    return power / MICRO


def grams(mass: Micrograms) -> float:
    """Return the mass in grams."""
    return mass / MICRO


def kilograms(mass: Micrograms) -> float:
    """Return the mass in kilograms."""
    return mass / UG_PER_KG


def seconds(time: Nanoseconds) -> float:
    """Return the duration in seconds."""
    return time / NANO


def nanoseconds(time: float) -> Nanoseconds:
    """Accept a duration in seconds in, rounded to the nearest nanosecond."""
    return Nanoseconds(round(time * NANO))


def energy_over(power: Microwatts, time: Nanoseconds) -> Microjoules:
    """Return the energy of a constant power over a duration, rounded down to a whole microjoule."""
    return Microjoules(power * time // NANO)
