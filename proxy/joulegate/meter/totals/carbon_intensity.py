"""What the electricity of a moment emits, as far as it is known. Does the I/O that the carbon source does."""

from joulegate.carbon.emissions import emissions
from joulegate.errors import SourceInvalid, SourceUnavailable
from joulegate.model import Emissions, Settled
from joulegate.ports import CarbonSource, Intensity
from joulegate.units import Nanoseconds


class CarbonIntensity:
    """A carbon source that may be absent or fail: then nothing is known, and nothing else suffers."""

    def __init__(self, source: CarbonSource | None, *, pue: float = 1.0) -> None:
        self._source = source
        self._pue = pue

    def intensity(self, wall: Nanoseconds) -> Intensity | None:
        """Return the intensity in force."""
        if self._source is None:
            return None
        try:
            return self._source.intensity(wall)
        except (SourceUnavailable, SourceInvalid):
            return None

    def emissions(self, settled: Settled, wall: Nanoseconds) -> Emissions | None:
        """Return the operational emissions of a request."""
        intensity = self.intensity(wall)
        return emissions(settled, intensity, pue=self._pue) if intensity else None
