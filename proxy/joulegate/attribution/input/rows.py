"""Requests as rows of numbers, so that thousands of them are looked at by a few operations on arrays."""

import math
from collections.abc import Sequence
from struct import Struct
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[Any]
"""A structured array of ``ROW``."""

ROW = np.dtype(
    [
        ("start", "<f8"),
        ("end", "<f8"),
        ("left", "<f8"),
        ("place", "<f8"),
        ("body", "<f8"),
        ("limit", "<f8"),
        ("prompt", "<f8"),
        ("cached", "<f8"),
        ("out", "<f8"),
        ("response", "<f8"),
        ("prefill", "<f8"),
        ("decode", "<f8"),
        ("marks", "<i8"),
    ]
)
"""Times in s after the origin; ``end`` and ``left`` are infinite until they are known, as is the ``limit`` of
tokens where none was asked for. Counts and phases (in s) that were not reported are not numbers."""
_PACK = Struct("<12dq").pack
UNKNOWN = math.nan

FINISHED, STREAMED, CHUNKED, WORKS, ENCODES, ORPHANED = (1 << bit for bit in range(6))
"""Marks: properties of a request, one bit each."""


class Rowed(Protocol):
    """What has a row."""

    known_row: bytes | None
    """Its row, if nothing changed since it was packed."""

    def row(self) -> bytes:
        """Return its row."""
        ...


def packed(*numbers: float, marks: int) -> bytes:
    """Return one row, numbers in the order of ``ROW``."""
    return _PACK(*numbers, marks)


def table(some: Sequence[Rowed]) -> Table:
    """Return the rows of many requests."""
    return np.frombuffer(b"".join([one.known_row or one.row() for one in some]), dtype=ROW)


def marked(rows: Table, mark: int) -> npt.NDArray[np.bool_]:
    """Return for each row whether it has a mark."""
    found: npt.NDArray[np.bool_] = (rows["marks"] & mark) != 0
    return found
