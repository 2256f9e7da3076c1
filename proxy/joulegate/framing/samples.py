"""Samples of a Prometheus page, added up. Pure."""

import re
from collections.abc import Callable

_ABSURD = 1e9


def total(*names: bytes) -> Callable[[bytes], int | None]:
    """Return what adds up these families of a page; ``None`` if it has no sample of the first of them."""
    # Each pattern begins with the name, so that the rest of a long page is passed at the speed of a search.
    patterns = [re.compile(re.escape(name) + rb"(?:\{[^\n]*\})?[ \t]+([^ \t\r\n]+)") for name in names]

    def read(page: bytes) -> int | None:
        found = [_samples(pattern, page) for pattern in patterns]
        return round(sum(map(sum, found))) if found[0] else None

    return read


def _samples(pattern: re.Pattern[bytes], page: bytes) -> list[float]:
    """Return the values of a family; what stands within a line is a part of another word."""
    matches = (
        match for match in pattern.finditer(page) if match.start() == 0 or page[match.start() - 1] == 10
    )
    return [value for match in matches if 0 <= (value := _number(match[1])) < _ABSURD]


def _number(digits: bytes) -> float:
    try:
        return float(digits)
    except ValueError:
        return -1.0
