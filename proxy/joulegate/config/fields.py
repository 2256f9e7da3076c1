"""How each setting of a struct is written in a file: what stands in its annotation. Pure.

A quantity, an address or a name is text that the annotation's ``Text`` parses once; from then on it is a
typed value. Bounds of numbers are ``msgspec.Meta``.
"""

from collections.abc import Callable, Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

NONE = type(None)


class Text(msgspec.Struct, frozen=True):
    """The form of a value that a file holds as text."""

    parse: Callable[[str], Any]
    """Returns the value, or raises ``ConfigError`` that says what is wrong and what to write instead."""
    show: Callable[[Any], str] = str
    """Returns the text of a value."""
    allowed: str = ""
    """Which values there may be, in words."""
    many: bool = False
    """One text, or a list of them; the value is a tuple."""


class Key(msgspec.Struct, frozen=True):
    """One setting of a struct."""

    name: str
    """In a file."""
    field: str
    """In Python."""
    hint: Any
    """Its type, without what the annotation says beyond that."""
    text: Text | None
    bounds: msgspec.Meta | None
    required: bool
    default: Any
    """``msgspec.NODEFAULT`` if it must be given or is made anew each time."""

    @property
    def table(self) -> Any:
        """The struct that it holds, or each item of its list; ``None`` if it holds none."""
        held = get_args(self.hint)[0] if get_origin(self.hint) is tuple else self.hint
        is_table = self.text is None and isinstance(held, type) and issubclass(held, msgspec.Struct)
        return held if is_table else None

    @property
    def tables(self) -> bool:
        """Whether it holds a list of tables."""
        return self.table is not None and get_origin(self.hint) is tuple

    @property
    def optional(self) -> bool:
        """Whether it may be left empty."""
        return NONE in get_args(self.hint)


def keys(struct: type[Any]) -> dict[str, Key]:
    """Return the settings of a struct by their name in a file."""
    hints = get_type_hints(struct, include_extras=True)
    return {
        field.encode_name: Key(
            field.encode_name,
            field.name,
            _bare(hints[field.name]),
            next((extra for extra in _extras(hints[field.name]) if isinstance(extra, Text)), None),
            next((extra for extra in _extras(hints[field.name]) if isinstance(extra, msgspec.Meta)), None),
            field.required,
            field.default,
        )
        for field in msgspec.structs.fields(struct)
    }


def _extras(hint: Any) -> Iterator[object]:
    if get_origin(hint) is Annotated:
        yield from get_args(hint)[1:]
    elif get_origin(hint) in {Union, UnionType}:
        for part in get_args(hint):
            yield from _extras(part)


def _bare(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        return get_args(hint)[0]
    if get_origin(hint) in {Union, UnionType} and any(map(_is_annotated, get_args(hint))):
        return Union[tuple(map(_bare, get_args(hint)))]  # noqa: UP007 (made from a tuple)
    return hint


def _is_annotated(hint: Any) -> bool:
    return get_origin(hint) is Annotated
