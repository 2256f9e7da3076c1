"""Whether values as read from a file have the shape of the structs: every problem, not just the first.

Pure. ``msgspec`` itself stops at the first problem and knows no near names.
"""

from collections.abc import Collection, Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from joulegate.config.lines import Path
from joulegate.config.problems import Problem, choices, dotted, near, shown
from joulegate.config.structs import Config

_WORDS: dict[Any, str] = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}


def misshapen(values: object) -> list[Problem]:
    """Return what keeps these values from being a ``Config``: unknown and missing keys, wrong types."""
    return list(_table((), values, Config))


def well_shaped(values: object, wrong: Collection[Problem]) -> Config:
    """Return a ``Config`` without what is wrong, so that the rest can be checked further; never to be used.

    A missing name or URL is empty in it, a missing choice the first one.
    """
    return msgspec.convert(_pruned((), values, Config, {problem.path for problem in wrong}), Config)


def _table(path: Path, values: object, struct: type[Any]) -> Iterator[Problem]:
    if not isinstance(values, dict):
        yield Problem(path, f"must be a table, written [{dotted(path)}] with keys below it")
        return
    hints = get_type_hints(struct)
    for key, value in values.items():
        if key in hints:
            yield from _value((*path, key), value, hints[key])
        else:
            yield Problem((*path, key), f"unknown key{_hint(key, hints, path)}")
    for field in msgspec.structs.fields(struct):
        if field.required and field.name not in values:
            yield Problem(path, f"the key {field.name!r} is missing")


def _value(path: Path, value: object, hint: Any) -> Iterator[Problem]:
    if _is_struct(hint):
        yield from _table(path, value, hint)
    elif _is_list_of_tables(hint):
        yield from _tables(path, value, get_args(hint)[0])
    else:
        yield from _leaf(path, value, hint)


def _tables(path: Path, values: object, struct: type[Any]) -> Iterator[Problem]:
    if not isinstance(values, list | tuple):
        yield Problem(path, f"must be a list of tables, each written [[{dotted(path)}]]")
        return
    for index, item in enumerate(values):
        yield from _table((*path, index), item, struct)


def _leaf(path: Path, value: object, hint: Any) -> Iterator[Problem]:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        yield Problem(path, f"{shown(path, value)} is not {_expected(hint)}{_choice_hint(value, hint)}")


def _pruned(path: Path, values: object, struct: type[Any], wrong: Collection[Path]) -> dict[str, Any]:
    hints = get_type_hints(struct)
    required = (field.name for field in msgspec.structs.fields(struct) if field.required)
    kept: dict[str, Any] = {name: _stand_in(hints[name]) for name in required}
    for key, value in values.items() if isinstance(values, dict) else ():
        place = (*path, key)
        hint: Any = hints.get(key)
        if _is_struct(hint) and isinstance(value, dict):
            kept[key] = _pruned(place, value, hint, wrong)
        elif _is_list_of_tables(hint) and isinstance(value, list | tuple):
            inner = get_args(hint)[0]
            kept[key] = [_pruned((*place, index), item, inner, wrong) for index, item in enumerate(value)]
        elif place not in wrong:
            kept[key] = value
    return kept


def _stand_in(hint: Any) -> str:
    return str(get_args(hint)[0]) if get_origin(hint) is Literal else ""


def _expected(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {choices([repr(choice) for choice in arguments])}"
    if origin in {Union, UnionType}:
        return " or ".join(_expected(part) for part in arguments if part is not type(None))
    if origin is tuple:
        return f"a list, each item {_expected(arguments[0])}"
    if origin is dict:
        return "a table"
    return _WORDS.get(hint, "of the right kind")


def _choice_hint(value: object, hint: Any) -> str:
    if get_origin(hint) is Literal and isinstance(value, str):
        return near(value, get_args(hint))
    return ""


def _hint(key: str, known: dict[str, Any], path: Path) -> str:
    """Return where a key belongs, or what there is."""
    close = near(key, known)
    if close:
        return close
    elsewhere = [section for section, keys in _sections() if key in keys and path != (section,)]
    if elsewhere:
        return f"; it belongs into [{elsewhere[0]}]"
    return f"; there are {choices(known)}"


def _sections() -> Iterator[tuple[str, set[str]]]:
    for name, hint in get_type_hints(Config).items():
        struct = get_args(hint)[0] if _is_list_of_tables(hint) else hint
        if _is_struct(struct):
            yield name, set(struct.__struct_fields__)


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _is_list_of_tables(hint: Any) -> bool:
    return get_origin(hint) is tuple and _is_struct(get_args(hint)[0])
