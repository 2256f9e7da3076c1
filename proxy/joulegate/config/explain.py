"""Each effective value with where it came from, for ``joulegate check --explain``. Pure."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

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
        Setting(dotted(path), _toml(path, value), _origin(resolved.layer, path))
        for path, value in _leaves((), resolved.config)
    ]


def _leaves(path: Path, value: object) -> Iterator[tuple[Path, object]]:
    """Return every value that is no table; a list of tables without any is shown as empty."""
    if isinstance(value, Struct):
        for field in value.__struct_fields__:
            yield from _leaves((*path, field), getattr(value, field))
    elif isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves((*path, key), below)
    elif isinstance(value, tuple) and any(isinstance(item, Struct) for item in value):
        for index, item in enumerate(value):
            yield from _leaves((*path, index), item)
    else:
        yield path, value


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
