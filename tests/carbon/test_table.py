"""The shipped factors are plausible, sourced, and never guessed."""

import pytest

from joulegate.carbon.table import Options, Plugin, factors
from joulegate.errors import ConfigError
from joulegate.units import Nanoseconds, grams

# Our World in Data, carbon intensity of electricity generation, year 2023, in g/kWh.
PUBLISHED = {"FRA": 56, "DEU": 381, "AUT": 111, "FIN": 79, "CZE": 450, "AUS": 549}


@pytest.mark.parametrize(("zone", "published"), PUBLISHED.items())
def test_factors_agree_with_the_published_ones(zone: str, published: int) -> None:
    """A factor is the one its source publishes for that year."""
    intensity = Plugin(Options(zone)).intensity(Nanoseconds(0))
    assert (round(grams(intensity.intensity)), intensity.year) == (published, 2023)


def test_every_row_says_its_year_source_and_licence() -> None:
    """No figure is without origin, and none has a licence that would bind the user's own data."""
    rows = factors()
    assert len(rows) > 200
    for zone, row in rows.items():
        assert row.intensity.zone == zone
        assert row.intensity.year is not None
        assert 2000 < row.intensity.year < 2100
        assert "Our World in Data" in row.intensity.source
        assert row.intensity.licence == "CC BY 4.0"


def test_the_world_is_near_what_others_publish() -> None:
    """Ember publishes 473 to 481 g/kWh for the world in 2023 and 2024."""
    assert 465 < grams(factors()["WORLD"].intensity.intensity) < 490


def test_zero_is_no_factor() -> None:
    """A life cycle that emits nothing is a hole in the data."""
    assert all(row.intensity.intensity > 0 for row in factors().values())


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("FRX", r"FRA \(France\)"),
        ("fra", r"FRA \(France\)"),
        ("Germany", r"DEU \(Germany\)"),
        ("!", "carbon.intensity"),
    ],
)
def test_an_unknown_zone_names_the_near_ones(zone: str, hint: str) -> None:
    """A zone is never guessed silently; the message has the remedy."""
    with pytest.raises(ConfigError, match=hint):
        Plugin(Options(zone))
