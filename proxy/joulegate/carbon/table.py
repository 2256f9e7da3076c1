"""Yearly factors shipped with joulegate: life-cycle intensity of electricity generated in a zone.

``factors.csv`` holds one row a zone with its own year, source and licence. It is derived from the file
``data/private_infra/global_energy_mix.json`` of CodeCarbon 3.3.2 (MIT), whose figures are those of Our
World in Data (CC BY 4.0, https://ourworldindata.org/grapher/carbon-intensity-electricity) after Ember and
the Energy Institute. Taken over: ISO code, name, year and intensity. Left out: rows with an intensity of
zero, because no life cycle emits nothing (one: CAF). ``WORLD`` is the mean of the rows of 2022 and 2023,
weighted by their generation. NOTICE carries the attributions.
"""

import csv
from decimal import Decimal
from difflib import get_close_matches
from importlib.resources import files

from msgspec import Struct

from joulegate.carbon.emissions import checked
from joulegate.errors import ConfigError
from joulegate.ports import Intensity
from joulegate.units import MICRO, Micrograms, Nanoseconds


class Factor(Struct, frozen=True):
    """One row of the table."""

    name: str
    """Of the place, in English."""
    intensity: Intensity


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Which zone the machines stand in."""

    zone: str
    """ISO 3166 alpha-3 code, or ``WORLD``."""


class Plugin:
    """Gives the yearly factor of one zone, whatever the hour."""

    def __init__(self, options: Options) -> None:
        self._intensity = factor(options.zone).intensity

    def intensity(self, wall: Nanoseconds) -> Intensity:  # noqa: ARG002 (one figure for all times)
        """Return the zone's factor."""
        return self._intensity


def factor(zone: str) -> Factor:
    """Return the row of a zone. Raises ``ConfigError`` with the names that come near."""
    table = factors()
    if zone in table:
        return table[zone]
    raise ConfigError(f"carbon.zone: there is no factor for {zone[:60]!r}; {_hint(zone, table)}")


def factors() -> dict[str, Factor]:
    """Return all rows by zone."""
    text = files("joulegate.carbon").joinpath("factors.csv").read_text(encoding="utf-8")
    return {row["zone"]: _factor(row) for row in csv.DictReader(text.splitlines())}


def _factor(row: dict[str, str]) -> Factor:
    intensity = Intensity(
        zone=row["zone"],
        intensity=Micrograms(int(Decimal(row["g_per_kwh"]) * MICRO)),
        source=row["source"],
        licence=row["licence"],
        year=int(row["year"]),
    )
    return Factor(row["name"], checked(intensity))


def _hint(zone: str, table: dict[str, Factor]) -> str:
    near = [*get_close_matches(zone.upper()[:60], table, n=3), *_named_like(zone, table)]
    listed = ", ".join(f"{code} ({table[code].name})" for code in dict.fromkeys(near))
    if listed:
        return f"did you mean {listed}?"
    return "use an ISO 3166 alpha-3 code such as FRA, WORLD, or an intensity of your own: carbon.intensity"


def _named_like(zone: str, table: dict[str, Factor]) -> list[str]:
    by_name = {row.name.casefold(): code for code, row in table.items()}
    return [by_name[name] for name in get_close_matches(zone.casefold()[:60], by_name, n=2, cutoff=0.75)]
