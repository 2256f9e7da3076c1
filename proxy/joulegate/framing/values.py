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

_NUMBER = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_NOT_A_NUMBER = re.compile(rb"(?<=[:,\[\s])(?:NaN|-?Infinity)(?=[\s,}\]])")

_FLAGS = {b"true": True, b'"true"': True, b"false": False, b'"false"': False}

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


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


def members(raw: bytes | msgspec.Raw, kind: type[S]) -> S | None:
    """Return an object of JSON text as a struct of this kind, read member by member.

    A member that cannot be read, because its number is too large or its text is broken, is as if it were not
    there: it costs no other one. ``None`` if the text is no object.
    """
    whole = decode(raw, kind)
    if whole is not None:
        return whole
    found = decode(raw, dict[str, msgspec.Raw])
    if found is None:
        return None
    values = {name: decode(found[name], Any) for name in kind.__struct_fields__ if name in found}
    return msgspec.convert(values, kind)


def count(value: object) -> int | None:
    """Accept a number of things from 0 to ``CEILING``, in any form in which servers write one.

    A float with a fraction is rounded to the nearest whole number; text must be a number and nothing else.
    """
    if type(value) is int:
        number = value
    elif type(value) is float and math.isfinite(value):
        number = math.floor(value + 0.5)
    elif isinstance(value, str) and _NUMBER.fullmatch(value):
        return count(float(value))
    else:
        return None
    return number if 0 <= number <= CEILING else None


def fact(value: object, source: FactSource = FactSource.REPORTED) -> Fact | None:
    """Accept a number of things as a fact."""
    number = count(value)
    return None if number is None else Fact(number, source)


def derived(value: object) -> Fact | None:
    """Accept a number of things that was worked out from what passed."""
    return fact(value, FactSource.DERIVED)


def milliseconds(value: object) -> Nanoseconds | None:
    """Accept a duration in milliseconds."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Nanoseconds(round(value * 1_000_000)) if math.isfinite(value) and 0 <= value <= CEILING else None


def seconds(value: object) -> Nanoseconds | None:
    """Accept a duration in seconds."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return milliseconds(value * 1_000) if 0 <= value <= CEILING else None


def word(raw: bytes | msgspec.Raw | None) -> str | None:
    """Return the text of a raw string that may be a name."""
    text = decode(raw, str) if raw is not None else None
    return text if text and len(text) <= _NAME_LIMIT else None


def whole(raw: bytes | msgspec.Raw | None) -> int | None:
    """Return the count in a raw number, or in the text of one as forms have it."""
    return count(decode(raw, Any)) if raw is not None else None


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
