"""Turns values as read from a file into a ``Config``: every problem is told, not just the first.

Pure. ``msgspec`` itself stops at the first problem and knows no near names.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from joulegate.config.fields import NONE, Key, keys
from joulegate.config.lines import Path
from joulegate.config.problems import Problem, choices, dotted, near, not_known, shown
from joulegate.config.structs import Config
from joulegate.errors import ConfigError

_WORDS: dict[Any, str] = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_TEXT = _WORDS[str]
T = TypeVar("T")


class _Wrong(Exception):
    """A value that cannot be used; what is wrong with it has been noted."""


def parsed(values: object) -> tuple[Config, list[Problem]]:
    """Return the configuration of these values, and what is wrong with each of them alone.

    With problems, the configuration serves only to find more of them: it lacks what is wrong, and what is
    missing in it is empty.
    """
    return parsed_as(Config, values)


def parsed_as(struct: type[T], values: object, place: Path = ()) -> tuple[T, list[Problem]]:
    """Return the struct of these values, which stand at a place, and what is wrong with each of them."""
    reader = _Tables()
    found: T = reader.table(place, values, struct)
    return found, reader.problems


class _Tables:
    """Reads tables and notes problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def table(self, path: Path, values: object, struct: type[Any]) -> Any:
        """Return a struct; what is wrong is left out of it."""
        known = keys(struct)
        if not isinstance(values, dict):
            self._note(path, f"must be a table, written [{dotted(path)}] with keys below it")
            values = None
        found: dict[str, Any] = {}
        for name, value in (values or {}).items():
            key = known.get(name)
            if key is None:
                self._note((*path, name), f"unknown key{_hint(name, known, path)}")
                continue
            with suppress(_Wrong):
                found[key.field] = self._value((*path, name), value, key)
        for key in known.values():
            if key.required and values is not None and key.name not in values:
                self._note(path, f"the key {key.name!r} is missing")
            if key.required and key.field not in found:
                found[key.field] = _stand_in(key.hint)
        return struct(**found)

    def _value(self, path: Path, value: object, key: Key) -> object:
        if key.tables:
            return self._tables(path, value, key)
        if key.table:
            return self.table(path, value, key.table)
        if key.text is not None:
            return self._text(path, value, key)
        hint = next((part for part in _parts(key.hint) if _is_words(part)), None)
        if hint is not None and isinstance(value, str):
            return self._word(path, value, hint)
        return self._leaf(path, value, key)

    def _tables(self, path: Path, values: object, key: Key) -> object:
        if not isinstance(values, list | tuple):
            raise self._wrong(path, f"must be a list of tables, each written [[{dotted(path)}]]")
        return tuple(self.table((*path, index), item, key.table) for index, item in enumerate(values))

    def _text(self, path: Path, value: object, key: Key) -> object:
        if key.text is not None and key.text.many:
            listed = value if isinstance(value, list | tuple) else None
            if listed is None and not isinstance(value, str):
                raise self._wrong(path, f"{shown(path, value)} is not {_TEXT} or a list, each item {_TEXT}")
            if listed is None:
                return (self._parsed(path, value, key),)
            return tuple(self._parsed((*path, index), one, key) for index, one in enumerate(listed))
        return self._parsed(path, value, key)

    def _parsed(self, path: Path, value: object, key: Key) -> object:
        if not isinstance(value, str) or key.text is None:
            raise self._wrong(path, f"{shown(path, value)} is not {_TEXT}")
        try:
            return key.text.parse(value)
        except ConfigError as error:
            raise self._wrong(path, str(error)) from error

    def _word(self, path: Path, value: str, words: type[Enum]) -> Enum:
        known = {one.value: one for one in words}
        if value not in known:
            raise self._wrong(path, not_known(value, known))
        return known[value]

    def _leaf(self, path: Path, value: object, key: Key) -> object:
        try:
            found: object = msgspec.convert(value, key.hint)
        except msgspec.ValidationError:
            what = f"{shown(path, value)} is not {_expected(key.hint)}{_choice_hint(value, key.hint)}"
            raise self._wrong(path, what) from None
        if key.bounds is not None and isinstance(found, int | float):
            low, high = key.bounds.ge, key.bounds.le
            if low is not None and high is not None and not low <= found <= high:  # nor is not-a-number
                raise self._wrong(path, f"{found} is not between {low} and {high}")
        return found

    def _wrong(self, path: Path, what: str) -> _Wrong:
        self._note(path, what)
        return _Wrong()

    def _note(self, path: Path, what: str) -> None:
        self.problems.append(Problem(path, what))


def _stand_in(hint: Any) -> object:
    """Return something empty of a type: it stands for what is missing, so that the rest can be checked."""
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) is tuple:
        return ()
    return next(iter(hint)) if _is_words(hint) else ""


def _parts(hint: Any) -> Collection[Any]:
    return get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)


def _is_words(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)


def _expected(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {choices([repr(choice) for choice in arguments])}"
    if origin in {Union, UnionType}:
        return " or ".join(_expected(part) for part in arguments if part is not NONE)
    if origin is tuple:
        return f"a list, each item {_expected(arguments[0])}"
    if origin is dict:
        return "a table"
    return _TEXT if _is_words(hint) else _WORDS.get(hint, "of the right kind")


def _choice_hint(value: object, hint: Any) -> str:
    words = [part for part in _parts(hint) if get_origin(part) is Literal]
    return near(value, get_args(words[0])) if words and isinstance(value, str) else ""


def _hint(name: str, known: Mapping[str, Key], path: Path) -> str:
    """Return where a key belongs, or what there is."""
    close = near(name, known)
    if close:
        return close
    elsewhere = [section for section, there in _sections() if name in there and path != (section,)]
    if elsewhere:
        return f"; it belongs into [{elsewhere[0]}]"
    return f"; there are {choices(known)}"


def _sections() -> Iterator[tuple[str, Mapping[str, Key]]]:
    for key in keys(Config).values():
        if key.table:
            yield key.name, keys(key.table)
