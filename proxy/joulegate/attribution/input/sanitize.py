"""What servers tell of a request, believed where it can be true."""

from joulegate.attribution.input.rows import UNKNOWN
from joulegate.model import Fact
from joulegate.units import NANO

MAX_TOKENS = 4_000_000
"""No context window is larger; a larger count is a lie."""


def possible(fact: Fact | None) -> int | None:
    """Return a count that can be true."""
    if fact is None or not 0 <= fact.value <= MAX_TOKENS:
        return None
    return fact.value


def phase(took: int | None) -> float:
    """Return what the server says a phase took, from ns to s."""
    return UNKNOWN if took is None or took < 0 else took / NANO
