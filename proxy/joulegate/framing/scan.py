"""Walks over a JSON document of any size and keeps a few values of it, in constant memory.

Inside long strings it only looks for the closing quote, and below the depth of interest only for brackets.
It checks nothing; of a broken document it gives whatever it found.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from joulegate.framing.effort import WORK, WORK_AT_ONCE, TooMuchWork
from joulegate.framing.values import key_of

KEEP = 16 * 1024
"""Bytes of one wanted value that are kept; a longer value counts as absent."""
HEAD = 4 * 1024
"""Bytes that are kept of a value of which only the beginning is wanted."""

_SHALLOW = re.compile(rb'["{}\[\],:]')
_PLAIN = rb'[^"{}\[\]]++|"[^"\\]{0,64}+"'
_DEEP = re.compile(rb"(?:%b|\{(?:%b)*+\}|\[(?:%b)*+\])*+" % (_PLAIN, _PLAIN, _PLAIN))
"""All up to the next bracket that holds brackets of its own, or to a string that is long or has escapes:
those are passed by search."""
_SHALLOW_COST = 3
"""Units for a mark that may mean something, against one for a bracket further down."""
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SEARCHES = 64
"""Escaped quotes of one string that are looked at one by one; where there are more, a pattern takes over."""
_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"\\,:'
_ARRAY = 0x5B
_OPENING = b"{["
_KEY_LIMIT = 256


Path = tuple[str, ...]
"""Keys and places from the top of a document."""


def dotted(path: str) -> Path:
    """Return the parts of a path such as ``response.usage`` or ``inputs.0.shape``."""
    return tuple(path.split("."))


class Found(NamedTuple):
    """What a peek has found so far."""

    members: dict[str, bytes]
    """Raw JSON text by path, for example ``usage`` or ``response.usage``."""
    counts: dict[str, int]
    """Elements of arrays, by path."""


class Scanner:
    """Finds wanted members and counts elements of wanted arrays, whatever the chunking.

    A path is made of object keys and places in arrays, counted from 0, joined by dots (``split`` says
    otherwise). Where a key is there twice, the last one counts, as in most JSON readers. Of the values at
    ``heads``, which may be long, only the beginning is kept.
    """

    def __init__(
        self,
        wanted: Iterable[str],
        counted: Iterable[str] = (),
        heads: Iterable[str] = (),
        split: Callable[[str], Path] = dotted,
    ) -> None:
        self._heads = frozenset(heads)
        self._wanted = {split(path): path for path in (*wanted, *self._heads)}
        self._counted = {split(path): path for path in counted}
        self._floor = max([1, *map(len, self._wanted), *(len(path) + 1 for path in self._counted)])
        paths = (*self._wanted, *self._counted)
        self._leading = {path[:size] for path in paths for size in range(len(path))} | set(self._counted)
        """Where containers lie that hold something wanted; any other one is passed over."""
        self._limit = self._floor
        """The depth below which nothing is wanted now."""
        self._places = any(part.isdecimal() for path in (*self._wanted, *self._counted) for part in path)
        """Elements of arrays are wanted, not only members of objects."""
        self._depth = 0
        self._keys = [""] * self._floor
        self._objects = [False] * self._floor
        self._key: bytearray | None = None
        self._expects_key = False
        self._in_string = False
        self._escaped = False
        self._path = self._counted.get(())
        """Of the value that begins here, if an array there is to be counted."""
        self._capture: bytearray | None = None
        self._capture_path = ""
        self._capture_depth = 0
        self._capture_from = 0
        self._counting = ""
        self._counting_depth = -1
        self._counting_from = 0
        self._marks: dict[int, Callable[[bytes, int], None]] = {
            0x7B: self._opened, 0x5B: self._opened, 0x7D: self._closed, 0x5D: self._closed,
            _COMMA: self._comma, _COLON: self._colon,
        }  # fmt: skip
        self._worked = 0
        self.found = Found({}, {})

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the document. Raises ``TooMuchWork``."""
        at = self._string(chunk, 0) if self._in_string else 0
        left = budget = min(WORK_AT_ONCE, WORK - self._worked)
        while at >= 0:
            if self._depth > self._limit:
                at, left = self._skip(chunk, at, left)
                if at < 0:
                    break
            mark = _SHALLOW.search(chunk, at) if left > 0 else None
            left -= _SHALLOW_COST
            if left < 0:
                raise TooMuchWork("a document of more members and brackets than are looked at")
            if not mark:
                break
            at = mark.end()
            if chunk[at - 1] == _QUOTE:
                at = self._begin_string(chunk, at)
            else:
                self._marks[chunk[at - 1]](chunk, at - 1)
        self._worked += budget - left
        self._keep(chunk[self._capture_from :])
        self._first(chunk, len(chunk))
        self._capture_from = self._counting_from = 0

    def _skip(self, chunk: bytes, at: int, left: int) -> tuple[int, int]:
        """Pass over what is deeper than anything wanted; return where to go on, or -1, and the work left."""
        while self._depth > self._limit:
            matched = _DEEP.match(chunk, at)
            at = matched.end() if matched else at
            if at == len(chunk):
                return -1, left
            left -= 1
            if left < 0:
                return at, left
            mark = chunk[at]
            if mark == _QUOTE:
                at = self._begin_string(chunk, at + 1)
                if at < 0:
                    return -1, left
            elif mark in _OPENING:
                self._depth += 1
                at += 1
            else:
                self._closed(chunk, at)
                at += 1
        self._limit = self._floor
        return at, left

    # --- strings -------------------------------------------------------------------------------------

    def _begin_string(self, chunk: bytes, at: int) -> int:
        self._path = None
        self._in_string = True
        self._key = bytearray() if self._expects_key and 0 < self._depth <= self._floor else None
        return self._string(chunk, at)

    def _string(self, chunk: bytes, at: int) -> int:
        """Go on inside a string; return the place after its closing quote, or -1 if it goes on."""
        end = self._closing_quote(chunk, at)
        if self._key is not None and len(self._key) <= _KEY_LIMIT:
            self._key += chunk[at : end if end >= 0 else len(chunk)]
        if end < 0:
            return -1
        self._in_string = False
        if self._key is not None:
            self._keys[self._depth - 1] = key_of(bytes(self._key))
            self._key = None
        return end + 1

    def _closing_quote(self, chunk: bytes, at: int) -> int:
        floor = at + 1 if self._escaped and at < len(chunk) else at
        if floor > at:
            self._escaped = False
        for _ in range(_SEARCHES):
            end = chunk.find(b'"', floor)
            if end < 0:
                break
            if not _odd_backslashes(chunk, floor, end):
                return end
            floor = end + 1
        else:
            matched = _STRING.match(chunk, floor)
            floor = matched.end() if matched else floor
            if floor < len(chunk) and chunk[floor] == _QUOTE:
                return floor
        if floor < len(chunk):
            self._escaped = _odd_backslashes(chunk, floor, len(chunk))
        return -1

    # --- marks ---------------------------------------------------------------------------------------

    def _opened(self, chunk: bytes, at: int) -> None:
        is_array = chunk[at] == _ARRAY
        self._depth += 1
        if is_array and self._path is not None:
            self._counting, self._counting_depth = self._path, self._depth
            self._counting_from = at + 1
            self.found.counts[self._path] = 0
        self._path = None
        self._expects_key = not is_array
        if self._depth <= self._floor:
            if tuple(self._keys[: self._depth - 1]) not in self._leading:
                self._limit = self._depth - 1
                return
            self._objects[self._depth - 1] = not is_array
            self._keys[self._depth - 1] = "0" if is_array else ""
            if is_array and self._places:
                self._begin_value(at)

    def _closed(self, chunk: bytes, at: int) -> None:
        self._end_capture(chunk, at)
        if self._depth == self._counting_depth:
            self._first(chunk, at)
            self._counting_depth = -1
        self._depth = max(0, self._depth - 1)
        self._expects_key = False
        self._path = None

    def _comma(self, chunk: bytes, at: int) -> None:
        self._end_capture(chunk, at)
        self._path = None
        if self._depth == self._counting_depth:
            counts = self.found.counts
            counts[self._counting] = max(1, counts[self._counting]) + 1
        if not 0 < self._depth <= self._floor:
            return
        self._expects_key = self._objects[self._depth - 1]
        if self._places and not self._expects_key:
            self._keys[self._depth - 1] = str(int(self._keys[self._depth - 1] or 0) + 1)
            self._begin_value(at)

    def _colon(self, _chunk: bytes, at: int) -> None:
        if 0 < self._depth <= self._floor and self._expects_key:
            self._expects_key = False
            self._begin_value(at)

    def _begin_value(self, at: int) -> None:
        """Look whether the value behind this mark is wanted."""
        path = tuple(self._keys[: self._depth])
        self._path = self._counted.get(path)
        name = self._wanted.get(path)
        if name is not None:
            self._capture = bytearray()
            self._capture_path, self._capture_depth = name, self._depth
            self._capture_from = at + 1
            self.found.members.pop(name, None)

    def _first(self, chunk: bytes, end: int) -> None:
        """Record the first element of the array that is being counted, if it stands before ``end``."""
        counts = self.found.counts
        if self._counting_depth >= 0 and not counts[self._counting]:
            counts[self._counting] = int(bool(chunk[self._counting_from : end].strip()))

    # --- wanted values -------------------------------------------------------------------------------

    def _end_capture(self, chunk: bytes, at: int) -> None:
        if self._capture is None or self._depth != self._capture_depth:
            return
        self._keep(chunk[self._capture_from : at])
        value = bytes(self._capture or b"").strip()
        if value:
            self.found.members[self._capture_path] = value
        self._capture = None

    def _keep(self, part: bytes) -> None:
        if self._capture is None:
            return
        if self._capture_path in self._heads:
            self._capture += part[: HEAD - len(self._capture)]
            return
        self._capture += part
        if len(self._capture) > KEEP:
            self._capture = None


def _odd_backslashes(chunk: bytes, floor: int, end: int) -> bool:
    if end == floor or chunk[end - 1] != _BACKSLASH:
        return False
    run = chunk[floor:end]
    return (len(run) - len(run.rstrip(b"\\"))) % 2 == 1
