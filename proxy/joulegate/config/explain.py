"""Each effective value with where it came from, for ``joulegate check --explain``. Pure."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from joulegate.config.fields import Text, keys
from joulegate.config.layers import Layer, origin_of
from joulegate.config.lines import Path
from joulegate.config.load import Resolved
from joulegate.config.problems import dotted, is_secret

DEFAULT = "default"


class Setting(Struct, frozen=True):
    """One effective value."""

    key: str
    value: str
    """As TOML would write it; a secret is ``"***"``."""
    origin: str
    """``default``, ``file:line`` or the flag."""


def explain(resolved: Resolved) -> list[Setting]:
    """Return all effective values in the order of the structs."""
    return [
        Setting(
            dotted(path), _toml(path, _as_written(resolved.layer, path, value)), _origin(resolved.layer, path)
        )
        for path, value in _leaves((), resolved.config)
    ]


def _leaves(path: Path, table: Struct) -> Iterator[tuple[Path, object]]:
    """Return every value that is no table; a list of tables without any is shown as empty."""
    for key in keys(type(table)).values():
        at, value = (*path, key.name), getattr(table, key.field)
        if key.tables and value:
            for index, item in enumerate(value):
                yield from _leaves((*at, index), item)
        elif key.table and not key.tables:
            yield from _leaves(at, value)
        elif isinstance(value, dict) and value:
            yield from _options(at, value)
        elif key.text is not None and value is not None:
            yield at, _shown(value, key.text)
        else:
            yield at, value


def _options(path: Path, value: object) -> Iterator[tuple[Path, object]]:
    """Return the values of a table that only a plug-in understands."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _options((*path, name), below)
    else:
        yield path, value


def _shown(value: Any, text: Text) -> object:
    if not text.many:
        return text.show(value)
    return text.show(value[0]) if len(value) == 1 else tuple(map(text.show, value))


def _as_written(layer: Layer, path: Path, value: object) -> object:
    """Return what was written, which may say the same in another unit; else the value."""
    if not _is_written(layer.values, path):
        return value
    written: Any = layer.values
    for part in path:
        written = written[part]
    return written


def _origin(layer: Layer, path: Path) -> str:
    if not _is_written(layer.values, path):
        return DEFAULT
    return origin_of(layer, path) or "file"


def _is_written(values: Any, path: Path) -> bool:
    for part in path:
        if isinstance(part, str) and not (isinstance(values, dict) and part in values):
            return False
        values = values[part]
    return True


def _toml(path: Path, value: object) -> str:
    if is_secret(path):
        return '"***"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(path, item) for item in value)}]"
    if value is None or value == {}:
        return "-"
    return f'"{value}"' if isinstance(value, str) else str(value)
