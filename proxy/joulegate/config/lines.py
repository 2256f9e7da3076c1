"""Where each key of a TOML text stands, which ``tomllib`` does not tell.

Pure. The text must already have been accepted by ``tomllib``: this reader only finds lines, it refuses
nothing. Grammar: https://toml.io/en/v1.0.0
"""

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]
"""Keys and list positions from the top, for example ``("upstream", 0, "url")``."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # up to two quotes may stand right before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line, counted from 1, of every table, key and list item."""
    return _Reader(text).document()


class _Reader:
    """One pass over the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = 0
        self._line = 1
        self._lines: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}
        """How many tables each ``[[list]]`` has so far."""

    def document(self) -> Mapping[Path, int]:
        here: Path = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[", self._at):
                here = self._header()
            else:
                self._pair(here)
        return self._lines

    def _header(self) -> Path:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        *parents, last = self._key()
        self._at += brackets
        path = (*self._resolved(parents), last)
        if brackets == 2:
            count = self._tables.get(path, 0)
            self._tables[path] = count + 1
            path = (*path, count)
        self._note(path)
        return path

    def _resolved(self, keys: list[str]) -> Path:
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for key in self._key():
            path = (*path, key)
            self._note(path)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            parts.append(self._key_part())
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _key_part(self) -> str:
        if self._text.startswith(('"', "'"), self._at):
            return str(tomllib.loads("key = " + self._take(_STRING))["key"])
        return self._take(_BARE)

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        match self._text[self._at : self._at + 1]:
            case "[":
                self._array(path)
            case "{":
                self._inline(path)
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        index = 0
        while self._next_item("]"):
            self._note((*path, index))
            self._value((*path, index))
            index += 1

    def _inline(self, path: Path) -> None:
        while self._next_item("}"):
            self._pair(path)

    def _next_item(self, closing: str) -> bool:
        """Step over the opening bracket or a comma; return whether an item follows."""
        if not self._text.startswith(closing, self._skip(_BLANK)):
            self._at += 1
            self._skip(_BLANK)
        if self._text.startswith(closing, self._at):
            self._at += 1
            return False
        return self._at < len(self._text)

    def _note(self, path: Path) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self._lines.setdefault(path, self._line)

    def _take(self, pattern: re.Pattern[str]) -> str:
        start = self._at
        return self._text[start : self._skip(pattern)]

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        # A character that nothing expects is stepped over, so that the pass always ends.
        self._at = match.end() if match else self._at + 1
        return self._at
