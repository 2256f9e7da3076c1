"""A stated intensity is taken as it is, within what a grid can have."""

import pytest

from joulegate.carbon.static import Options, Plugin
from joulegate.errors import ConfigError
from joulegate.units import Micrograms, Nanoseconds


def test_the_stated_intensity_is_used_and_said_to_be_stated() -> None:
    """The user's figure comes out with its origin, and without a year that nobody gave."""
    found = Plugin(Options(Micrograms(56_000_000))).intensity(Nanoseconds(0))
    assert (found.intensity, found.zone, found.year) == (56_000_000, "own", None)
    assert "configuration" in found.source


def test_an_impossible_intensity_names_the_key() -> None:
    """56 kg/kWh is a slip of a unit, and the message says where."""
    with pytest.raises(ConfigError, match=r"carbon\.intensity: .* check the unit"):
        Plugin(Options(Micrograms(56_000_000_000)))
