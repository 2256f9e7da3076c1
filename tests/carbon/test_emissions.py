"""Energy becomes grams exactly, and only where both are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.carbon.emissions import checked, emissions
from joulegate.config.quantities import MOST_INTENSE
from joulegate.errors import SourceInvalid
from joulegate.model import Method, Settled, SpanId
from joulegate.ports import Intensity
from joulegate.units import UJ_PER_KWH, Micrograms, Microjoules


def settled(energy: int | None) -> Settled:
    known = None if energy is None else Microjoules(energy)
    return Settled(SpanId("r"), energy=known, sigma=None, method=Method.TOKENS, final=True)


def intensity(grams: float) -> Intensity:
    return Intensity("FRA", Micrograms(round(grams * 1_000_000)), source="test", licence="none")


def test_a_kilowatt_hour_emits_the_intensity() -> None:
    """One kWh at 56.039 g/kWh is 56.039 g, with zone and intensity beside it."""
    found = emissions(settled(UJ_PER_KWH), intensity(56.039))
    assert found is not None
    assert (found.mass, found.zone, found.intensity, found.basis) == (
        56_039_000,
        "FRA",
        56_039_000,
        "location",
    )


def test_the_overhead_of_the_site_multiplies() -> None:
    """A power usage effectiveness of 1.2 makes a fifth more."""
    found = emissions(settled(UJ_PER_KWH), intensity(100), pue=1.2)
    assert found is not None
    assert found.mass == 120_000_000


def test_unknown_energy_has_no_emissions() -> None:
    """An unknown is never zero."""
    assert emissions(settled(None), intensity(100)) is None


@given(st.integers(0, 10**16), st.integers(0, MOST_INTENSE // 10**6))
def test_emissions_are_rounded_to_the_nearest_microgram(energy: int, mass: int) -> None:
    """No float loses a microgram, however large the energy."""
    found = emissions(settled(energy), intensity(mass))
    assert found is not None
    assert abs(found.mass * UJ_PER_KWH - energy * mass * 1_000_000) * 2 <= UJ_PER_KWH


@pytest.mark.parametrize("mass", [-1, 2_001, 10**9])
def test_an_intensity_that_no_grid_has_is_refused(mass: int) -> None:
    """A slip of a unit is an error, not a figure."""
    with pytest.raises(SourceInvalid, match="between 0 and 2000 g/kWh"):
        checked(intensity(mass))
