"""A carbon intensity that the user states, for example from a supplier's contract."""

from typing import Annotated

from msgspec import Struct

from joulegate.carbon.emissions import checked
from joulegate.config.fields import Text
from joulegate.config.quantities import intensity as parsed
from joulegate.config.quantities import intensity_text
from joulegate.errors import ConfigError, SourceInvalid
from joulegate.ports import Intensity
from joulegate.units import Micrograms, Nanoseconds


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What the user knows."""

    intensity: Annotated[Micrograms, Text(parsed, intensity_text)]
    """CO2e per kWh, for example ``56 g/kWh``."""
    zone: str = "own"


class Plugin:
    """Gives the stated intensity, whatever the hour."""

    def __init__(self, options: Options) -> None:
        try:
            self._intensity = checked(
                Intensity(
                    zone=options.zone,
                    intensity=options.intensity,
                    source="stated in the configuration",
                    licence="your own",
                )
            )
        except SourceInvalid as problem:
            raise ConfigError(f"carbon.intensity: {problem}; check the unit") from problem

    def intensity(self, wall: Nanoseconds) -> Intensity:  # noqa: ARG002 (one figure for all times)
        """Return the stated intensity."""
        return self._intensity
