"""Checked access to the fields of one row of a trace file."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from joulegate.errors import TraceError

SHOWN_CHARACTERS = 60
"""Characters of a wrong value that a message repeats."""


class Row:
    """One JSON object with the place it came from. Every check raises ``TraceError`` with that place."""

    def __init__(self, where: str, fields: dict[str, Any]) -> None:
        self.where = where
        self._fields = fields

    def fail(self, reason: str) -> NoReturn:
        """Refuse the row."""
        raise TraceError(f"{self.where}: {reason}")

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(name) is not None

    def number(self, name: str) -> float:
        """Return a number that is finite and not negative."""
        return self._checked_number(name, self._required(name))

    def integer(self, name: str) -> int:
        """Return an integer that is not negative."""
        return self._checked_integer(name, self._required(name))

    def integer_or(self, name: str, absent: int | None) -> int | None:
        """Return an integer, or what its absence means."""
        return self.integer(name) if self.has(name) else absent

    def text(self, name: str) -> str:
        """Return a string."""
        value = self._required(name)
        if not isinstance(value, str):
            self._wrong(name, "a string", value)
        return value

    def flag(self, name: str, *, absent: bool) -> bool:
        """Return a boolean, or what its absence means."""
        value = self._fields.get(name, absent)
        if not isinstance(value, bool):
            self._wrong(name, "a boolean", value)
        return value

    def numbers(self, name: str) -> list[float]:
        """Return a list of numbers."""
        return [self._checked_number(name, value) for value in self._list(name)]

    def integers(self, name: str) -> list[int]:
        """Return a list of integers."""
        return [self._checked_integer(name, value) for value in self._list(name)]

    def part(self, name: str) -> "Row":
        """Return an object within this one."""
        value = self._required(name)
        if not isinstance(value, dict):
            self._wrong(name, "an object", value)
        return Nested(self, name, value)

    def names(self) -> Sequence[str]:
        """Return the names of all fields."""
        return list(self._fields)

    def label(self, name: str) -> str:
        """Return the name of a field as messages write it."""
        return f'field "{name}"'

    def _required(self, name: str) -> Any:
        if name not in self._fields:
            self.fail(f"{self.label(name)}: missing")
        return self._fields[name]

    def _list(self, name: str) -> list[Any]:
        value = self._required(name)
        if not isinstance(value, list):
            self._wrong(name, "a list", value)
        return value

    def _checked_number(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong(name, "a number", value)
        if (isinstance(value, float) and not math.isfinite(value)) or abs(value) > 1e15:
            self._wrong(name, "a finite number", value)
        if value < 0:
            self._wrong(name, "a number that is not negative", value)
        return float(value)

    def _checked_integer(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(name, "an integer", value)
        if value < 0:
            self._wrong(name, "an integer that is not negative", value)
        return value

    def _wrong(self, name: str, expected: str, value: object) -> NoReturn:
        shown = json.dumps(value, ensure_ascii=False)
        shown = shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + "..."
        self.fail(f"{self.label(name)}: expected {expected}, got {shown}")


class Nested(Row):
    """An object within a row: its fields are named by their path."""

    def __init__(self, parent: Row, path: str, fields: dict[str, Any]) -> None:
        super().__init__(parent.where, fields)
        self._label = parent.label(path)

    def label(self, name: str) -> str:
        """Return the path of a field."""
        return f'{self._label[:-1]}.{name}"' if self._label.endswith('"') else f"{self._label}.{name}"


class Document(Row):
    """A whole file that is one JSON object: its fields are named by bare paths."""

    def label(self, name: str) -> str:
        """Return the name of a field."""
        return name


def rows(path: Path) -> list[Row]:
    """Read a file of one JSON object a line. Raises ``TraceError``."""
    return [
        Row(f"{path}:{number}", _object(f"{path}:{number}", line))
        for number, line in enumerate(_bytes(path).split(b"\n"), start=1)
        if line.strip()
    ]


def document(path: Path) -> Document:
    """Read a file that is one JSON object. Raises ``TraceError``."""
    return Document(str(path), _object(str(path), _bytes(path)))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error


def _object(where: str, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise TraceError(f"{where}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise TraceError(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise TraceError(f"{where}: nested too deeply") from error
    if not isinstance(value, dict):
        raise TraceError(f"{where}: expected an object, got {type(value).__name__}")
    return value
