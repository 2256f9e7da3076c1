"""Checks of what servers report of a request: what cannot be true counts as not reported."""

from joulegate.attribution.input.rows import UNKNOWN
from joulegate.attribution.maths.arrays import Seconds
from joulegate.model import Fact
from joulegate.units import NANO, Nanoseconds

MAX_TOKENS = 4_000_000
"""No context window is larger; a larger count is wrong."""


def possible(fact: Fact | None) -> int | None:
    """Return a count that can be true."""
    if fact is None or not 0 <= fact.value <= MAX_TOKENS:
        return None
    return fact.value


def phase(took: Nanoseconds | None) -> Seconds:
    """Return the reported duration of a phase in s."""
    return UNKNOWN if took is None or took < 0 else took / NANO
