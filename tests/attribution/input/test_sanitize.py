"""What servers tell is believed where it can be true."""

import math

import pytest

from joulegate.attribution.input.rows import UNKNOWN
from joulegate.attribution.input.sanitize import MAX_TOKENS, phase, possible
from joulegate.model import Fact


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        (None, None),
        (-1, None),
        (0, 0),
        (7, 7),
        (MAX_TOKENS, MAX_TOKENS),
        (MAX_TOKENS + 1, None),
        (10**18, None),
    ],
)
def test_a_count_is_believed_up_to_the_largest_context(told: int | None, believed: int | None) -> None:
    """A reported zero is a count; a negative or absurd one is unknown."""
    assert possible(None if told is None else Fact(told)) == believed


@pytest.mark.parametrize(
    ("took", "seconds"), [(0, 0.0), (1_500_000_000, 1.5), (None, UNKNOWN), (-1, UNKNOWN)]
)
def test_a_phase_is_told_in_seconds(took: int | None, seconds: float) -> None:
    """What is not told, or runs backwards, is unknown."""
    found = phase(took)
    assert found == seconds or (math.isnan(found) and math.isnan(seconds))
