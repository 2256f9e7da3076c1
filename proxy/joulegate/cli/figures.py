"""Figures as people read them: three digits and a fitting unit. ``-`` stands for what is not known."""

from joulegate.units import (
    UJ_PER_KWH,
    Micrograms,
    Microjoules,
    Microwatts,
    Nanoseconds,
    grams,
    joules,
    seconds,
    watts,
)

UNKNOWN = "-"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"))


def amount(value: float, unit: str) -> str:
    """Return three significant digits with a decimal prefix, for example ``1.23 kJ``."""
    if value == 0:
        return f"0 {unit}"
    size, prefix = next(
        ((size, prefix) for size, prefix in _PREFIXES if abs(value) >= size * 0.9995), (1e-6, "µ")
    )
    return f"{_digits(value / size)} {prefix}{unit}"


def energy(found: Microjoules | None) -> str:
    """Return joules below a watt-hour, watt-hours with a prefix above."""
    if found is None:
        return UNKNOWN
    if abs(found) < UJ_PER_KWH // 1_000:
        return amount(joules(found), "J")
    return amount(found / UJ_PER_KWH * 1_000, "Wh")


def power(found: Microwatts | None) -> str:
    """Return watts."""
    return UNKNOWN if found is None else f"{watts(found):.1f} W"


def mass(found: Micrograms | None) -> str:
    """Return grams of CO2e."""
    return UNKNOWN if found is None else amount(grams(found), "g")


def share(part: int, whole: int) -> str:
    """Return a percentage."""
    return UNKNOWN if whole <= 0 else f"{100 * part / whole:.0f} %"


def span(time: Nanoseconds) -> str:
    """Return a duration in its two largest units."""
    rest = int(seconds(time))
    days, rest = divmod(rest, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def counted(number: int, thing: str) -> str:
    """Return a number with its noun, for example ``1 request`` or ``2 requests``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def printable(text: str, width: int = 80) -> str:
    """Return a text from outside without control characters, cut to a width."""
    plain = "".join(character if character.isprintable() else "?" for character in text[: 4 * width])
    return plain if len(plain) <= width else f"{plain[: width - 1]}…"


def _digits(value: float) -> str:
    return (
        f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
    )
