"""Numbers and words out of JSON, accepted only where they can be true; anything else is ``None``.

A *raw* value is the JSON text of one member, as the peeks give it.
"""

import math
import re
from typing import Any, TypeVar

import msgspec

from joulegate.model import Fact, FactSource
from joulegate.units import Nanoseconds

CEILING = 10**9
"""No request works on more than a thousand million tokens, images or milliseconds; more is a lie."""

_NAME_LIMIT = 512
"""Characters of a model's name; longer ones are no names."""

_DIGITS = re.compile(r"\d{1,10}")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_NOT_A_NUMBER = re.compile(rb"(?<=[:,\[\s])(?:NaN|-?Infinity)(?=[\s,}\]])")

_FLAGS = {b"true": True, b'"true"': True, b"false": False, b'"false"': False}

T = TypeVar("T")


def decode(raw: bytes | msgspec.Raw, kind: type[T]) -> T | None:
    """Return the value of JSON text, or ``None`` if it is not of this kind.

    ``NaN`` and ``Infinity``, which JSON forbids and Python servers write, count as null.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        cleaned, found = _NOT_A_NUMBER.subn(b"null", bytes(raw))
        return msgspec.json.decode(cleaned, type=kind) if found else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def count(value: object) -> int | None:
    """Accept a number of things: a whole number from 0 to ``CEILING``."""
    return value if type(value) is int and 0 <= value <= CEILING else None


def fact(value: object, source: FactSource = FactSource.REPORTED) -> Fact | None:
    """Accept a number of things as a fact."""
    number = count(value)
    return None if number is None else Fact(number, source)


def derived(value: object) -> Fact | None:
    """Accept a number of things that was worked out from what passed."""
    return fact(value, FactSource.DERIVED)


def milliseconds(value: object) -> Nanoseconds | None:
    """Accept a duration in milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Nanoseconds(round(value * 1_000_000)) if math.isfinite(value) and 0 <= value <= CEILING else None


def seconds(value: object) -> Nanoseconds | None:
    """Accept a duration in seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return milliseconds(value * 1_000) if 0 <= value <= CEILING else None


def word(raw: bytes | msgspec.Raw | None) -> str | None:
    """Return the text of a raw string that may be a name."""
    text = decode(raw, str) if raw is not None else None
    return text if text and len(text) <= _NAME_LIMIT else None


def whole(raw: bytes | msgspec.Raw | None) -> int | None:
    """Return the count in a raw number, or in a string of digits as forms have it."""
    value = decode(raw, Any) if raw is not None else None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    return count(value)


def flag(raw: bytes | None) -> bool | None:
    """Return the truth value of a raw member: a boolean, or the word of it as forms have it."""
    return _FLAGS.get(raw or b"")


def area(raw: bytes | msgspec.Raw | None) -> tuple[int, int] | None:
    """Return width and height of a raw ``"WxH"`` string; ``None`` for ``"auto"`` and the like."""
    match = _SIZE.fullmatch(word(raw) or "")
    return (int(match[1]), int(match[2])) if match else None


def key_of(inner: bytes) -> str:
    """Return the text of an object's key from what stands between its quotation marks."""
    if b"\\" in inner:
        return decode(b'"' + inner + b'"', str) or ""
    return inner.decode(errors="replace")
