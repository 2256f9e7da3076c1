"""Identities of requests, and words from outside made safe to keep."""

import os
import re

from joulegate.model import SpanId
from joulegate.units import Nanoseconds

MODEL_LENGTH = 256
"""Characters of a model name that are kept."""

_CLIENT_ID = re.compile(rb"[!-~]{1,128}")
"""A client's request id: visible ASCII of bounded length; anything else counts as absent."""


_RANDOM = 20
"""Hexadecimal digits of an identity that are random."""
_AT_ONCE = 200
"""Identities whose randomness is fetched with one system call: one for each was 5 % of a request's cost."""


class SpanIds:
    """Gives fresh identities of 32 hexadecimal digits that sort by their wall-clock time.

    48 bits of milliseconds and 80 random ones, like a UUID of version 7 (RFC 9562, section 5.7) without
    its fixed bits.
    """

    __slots__ = ("_digits",)

    def __init__(self) -> None:
        self._digits: list[str] = []

    def fresh(self, wall: Nanoseconds) -> SpanId:
        """Return one that nobody has."""
        if not self._digits:
            digits = os.urandom(_AT_ONCE * _RANDOM // 2).hex()
            self._digits = [digits[at : at + _RANDOM] for at in range(0, len(digits), _RANDOM)]
        return SpanId(f"{wall // 1_000_000:012x}{self._digits.pop()}")


def client_request_id(value: bytes | None) -> str | None:
    """Return the client's own identity of its request, or ``None`` if it is not fit to be kept."""
    return value.decode("ascii") if value is not None and _CLIENT_ID.fullmatch(value) else None


def model_name(text: str | None) -> str | None:
    """Return at most 256 characters, with what cannot be printed replaced; empty is ``None``.

    Lone surrogates (JSON can carry them), NUL and marks that turn the direction of writing would harm
    logs and metrics.
    """
    if not text:
        return None
    cut = text[:MODEL_LENGTH]
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in cut)
