"""Emissions where the intensity is known, and nothing where it is not."""

import pytest

from joulegate.carbon.static import Options, Plugin
from joulegate.errors import SourceInvalid, SourceUnavailable
from joulegate.meter.totals.carbon_intensity import CarbonIntensity
from joulegate.ports import Intensity
from joulegate.testing.records import RECORD
from joulegate.units import Micrograms, Nanoseconds

WALL = Nanoseconds(0)


class Failing:
    """A carbon source that fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def intensity(self, wall: Nanoseconds) -> Intensity:
        raise self._error


@pytest.mark.parametrize(
    "grid",
    [
        CarbonIntensity(None),
        CarbonIntensity(Failing(SourceUnavailable("away"))),
        CarbonIntensity(Failing(SourceInvalid("x"))),
    ],
    ids=["none", "away", "invalid"],
)
def test_what_is_not_known_is_none(grid: CarbonIntensity) -> None:
    """No source, one that is away and one that talks nonsense give no figures, and no error."""
    assert grid.intensity(WALL) is None
    assert grid.emissions(RECORD.settled, WALL) is None


def test_losses_of_the_site_are_emitted_too() -> None:
    """A power usage effectiveness of 2 doubles what a request emits."""
    source = Plugin(Options(intensity=Micrograms(56_000_000), zone="own"))
    once = CarbonIntensity(source).emissions(RECORD.settled, WALL)
    twice = CarbonIntensity(source, pue=2.0).emissions(RECORD.settled, WALL)
    assert once
    assert twice
    assert twice.mass == pytest.approx(2 * once.mass, abs=1)
