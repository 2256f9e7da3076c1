"""What a source of carbon intensity offers."""

from typing import Protocol, runtime_checkable

from msgspec import Struct

from joulegate.units import Micrograms, Nanoseconds


class Intensity(Struct, frozen=True):
    """A carbon intensity with its origin."""

    zone: str
    intensity: Micrograms
    """Micrograms CO2e per kWh."""
    source: str
    licence: str
    year: int | None = None
    basis: str = "location"


@runtime_checkable
class CarbonSource(Protocol):
    """Gives the carbon intensity of a zone. ``joulegate.carbon.<name>.Plugin``."""

    def intensity(self, wall: Nanoseconds) -> Intensity:
        """Return the intensity in force at a wall-clock time. Raises ``SourceUnavailable``."""
        ...
