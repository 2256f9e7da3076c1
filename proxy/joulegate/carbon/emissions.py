"""Emissions of a settled request. Pure: the intensity comes in as an argument."""

from joulegate.config.quantities import MOST_INTENSE
from joulegate.errors import SourceInvalid
from joulegate.model import Emissions, Settled
from joulegate.ports import Intensity
from joulegate.units import UJ_PER_KWH, Micrograms, grams

_PARTS = 1_000_000
"""Power usage effectiveness is kept in millionths, so that emissions are one integer division."""


def checked(intensity: Intensity) -> Intensity:
    """Return the intensity back. Raises ``SourceInvalid`` for one that no grid has."""
    if not 0 <= intensity.intensity <= MOST_INTENSE:
        raise SourceInvalid(
            f"{intensity.source}: {grams(intensity.intensity):g} g/kWh for {intensity.zone}; "
            f"a carbon intensity lies between 0 and {grams(MOST_INTENSE):g} g/kWh"
        )
    return intensity


def emissions(settled: Settled, intensity: Intensity, *, pue: float = 1.0) -> Emissions | None:
    """Return operational emissions: energy times the site's overhead times intensity, to the microgram.

    ``pue`` is power usage effectiveness (ISO/IEC 30134-2): energy of the site by energy of the machines.
    ``None`` for a request whose energy is unknown: an unknown is never zero.
    """
    if settled.energy is None:
        return None
    scale = UJ_PER_KWH * _PARTS
    mass = (settled.energy * intensity.intensity * round(pue * _PARTS) + scale // 2) // scale
    return Emissions(
        mass=Micrograms(mass),
        zone=intensity.zone,
        intensity=intensity.intensity,
        basis=intensity.basis,
    )
