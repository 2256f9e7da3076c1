"""Reads a few members out of a JSON document that passes by, in constant memory.

``Scanner`` walks over documents of any size: inside long strings it only looks for the closing quote, and
below the depth of interest only for brackets. It checks nothing; of a broken document it gives whatever
it found. ``JsonPeek`` decodes small documents and scans large ones; both ways find the same.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import msgspec

from joulegate.framing.records import LIMIT
from joulegate.framing.values import decode, key_of

KEEP = 16 * 1024
"""Bytes of one wanted value that are kept; a longer value counts as absent."""

_SHALLOW = re.compile(rb'["{}\[\],:]')
_DEEP = re.compile(rb'["{}\[\]]')
_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"\\,:'
_ARRAY = 0x5B
_KEY_LIMIT = 256


class Found(NamedTuple):
    """What a peek has found so far."""

    members: dict[str, bytes]
    """Raw JSON text by path, for example ``usage`` or ``response.usage``."""
    counts: dict[str, int]
    """Elements of arrays of objects or strings, by path."""


class Scanner:
    """Finds wanted members and counts elements of wanted arrays, whatever the chunking.

    A path is made of object keys joined by dots; members of objects inside arrays are never meant. Where a
    key is there twice, the last one counts, as in most JSON readers.
    """

    def __init__(self, wanted: Iterable[str], counted: Iterable[str] = ()) -> None:
        self._wanted = frozenset(wanted)
        self._counted = frozenset(counted)
        paths = [*self._wanted, *(f"{path}.[]" for path in self._counted)]
        self._floor = max((path.count(".") + 1 for path in paths), default=1)
        self._depth = 0
        self._keys = [""] * self._floor
        self._objects = [False] * self._floor
        self._key: bytearray | None = None
        self._expects_key = False
        self._in_string = False
        self._escaped = False
        self._path = ""
        """Of the value that begins after the last colon, if an array there is to be counted."""
        self._capture: bytearray | None = None
        self._capture_path = ""
        self._capture_depth = 0
        self._capture_from = 0
        self._counting = ""
        self._counting_depth = -1
        self._marks: dict[int, Callable[[bytes, int], None]] = {
            0x7B: self._opened, 0x5B: self._opened, 0x7D: self._closed, 0x5D: self._closed,
            _COMMA: self._comma, _COLON: self._colon,
        }  # fmt: skip
        self.found = Found({}, {})

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the document."""
        at = self._string(chunk, 0) if self._in_string else 0
        while at >= 0:
            pattern = _SHALLOW if self._depth <= self._floor else _DEEP
            mark = pattern.search(chunk, at)
            if not mark:
                break
            at = mark.end()
            if chunk[at - 1] == _QUOTE:
                self._element()
                at = self._begin_string(chunk, at)
            else:
                self._marks[chunk[at - 1]](chunk, at - 1)
        self._keep(chunk[self._capture_from :])
        self._capture_from = 0

    # --- strings -------------------------------------------------------------------------------------

    def _begin_string(self, chunk: bytes, at: int) -> int:
        self._path = ""
        self._in_string = True
        self._key = bytearray() if self._expects_key and 0 < self._depth <= self._floor else None
        return self._string(chunk, at)

    def _string(self, chunk: bytes, at: int) -> int:
        """Go on inside a string; give the place after its closing quote, or -1 if it goes on."""
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
        while (end := chunk.find(b'"', floor)) >= 0:
            if not _odd_backslashes(chunk, floor, end):
                return end
            floor = end + 1
        if floor < len(chunk):
            self._escaped = _odd_backslashes(chunk, floor, len(chunk))
        return -1

    # --- marks ---------------------------------------------------------------------------------------

    def _opened(self, chunk: bytes, at: int) -> None:
        is_array = chunk[at] == _ARRAY
        self._element()
        self._depth += 1
        if is_array and self._path:
            self._counting, self._counting_depth = self._path, self._depth
            self.found.counts[self._path] = 0
        self._path = ""
        self._expects_key = not is_array
        if self._depth <= self._floor:
            self._objects[self._depth - 1] = not is_array
            self._keys[self._depth - 1] = "[]" if is_array else ""

    def _closed(self, chunk: bytes, at: int) -> None:
        self._end_capture(chunk, at)
        if self._depth == self._counting_depth:
            self._counting_depth = -1
        self._depth = max(0, self._depth - 1)
        self._expects_key = False
        self._path = ""

    def _comma(self, chunk: bytes, at: int) -> None:
        self._end_capture(chunk, at)
        self._path = ""
        if self._depth == self._counting_depth:
            counts = self.found.counts
            counts[self._counting] = max(1, counts[self._counting]) + 1
        if 0 < self._depth <= self._floor:
            self._expects_key = self._objects[self._depth - 1]

    def _colon(self, _chunk: bytes, at: int) -> None:
        if not 0 < self._depth <= self._floor or not self._expects_key:
            return
        self._expects_key = False
        path = ".".join(self._keys[: self._depth])
        self._path = path if path in self._counted else ""
        if path in self._wanted:
            self._capture = bytearray()
            self._capture_path, self._capture_depth = path, self._depth
            self._capture_from = at + 1
            self.found.members.pop(path, None)

    def _element(self) -> None:
        """Note that something stands in the array that is being counted."""
        if self._depth == self._counting_depth:
            counts = self.found.counts
            counts[self._counting] = max(1, counts[self._counting])

    # --- wanted values -------------------------------------------------------------------------------

    def _end_capture(self, chunk: bytes, at: int) -> None:
        if self._capture is None or self._depth != self._capture_depth:
            return
        self._keep(chunk[self._capture_from : at])
        if self._capture is not None:
            self.found.members[self._capture_path] = bytes(self._capture).strip()
        self._capture = None

    def _keep(self, part: bytes) -> None:
        if self._capture is None:
            return
        self._capture += part
        if len(self._capture) > KEEP:
            self._capture = None


class JsonPeek:
    """Finds members of a document of any size: decodes it while it is small, else scans it."""

    def __init__(self, wanted: frozenset[str], counted: frozenset[str] = frozenset()) -> None:
        self._wanted = wanted
        self._counted = counted
        self._parts: list[bytes] = []
        self._size = 0
        self._scanner: Scanner | None = None
        self._found: Found | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the document."""
        if self._scanner:
            self._scanner.feed(chunk)
            return
        self._found = None
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size > LIMIT:
            self._scanner = self._scan()
            self._parts.clear()

    def found(self) -> Found:
        """Give what is known so far: of a broken or unfinished document, what precedes the break."""
        if self._scanner:
            return self._scanner.found
        if self._found is None:
            whole = decode(b"".join(self._parts), _shape(self._wanted | self._counted))
            self._found = self._scan().found if whole is None else self._pick(whole)
        return self._found

    def _scan(self) -> Scanner:
        scanner = Scanner(self._wanted, self._counted)
        for part in self._parts:
            scanner.feed(part)
        return scanner

    def _pick(self, document: msgspec.Struct) -> Found:
        found = Found({}, {})
        for path in self._wanted:
            raw = _at(document, path)
            if raw is not None and len(raw) <= KEEP:
                found.members[path] = raw
        for path in self._counted:
            raw = _at(document, path)
            elements = decode(raw, list[msgspec.Raw]) if raw is not None else None
            if elements is not None:
                found.counts[path] = len(elements)
        return found


@lru_cache(maxsize=256)
def _shape(paths: frozenset[str]) -> type[msgspec.Struct]:
    """Give the type of a document of which only the members at the top of these paths are kept.

    The decoder passes over all others without making anything of them: a third of the time that a
    dictionary of all members takes. There is one type for each observer class.
    """
    tops = sorted({path.partition(".")[0] for path in paths})
    return msgspec.defstruct("Document", [(top, msgspec.Raw, None) for top in tops], gc=False)


def _odd_backslashes(chunk: bytes, floor: int, end: int) -> bool:
    at = end
    while at > floor and chunk[at - 1] == _BACKSLASH:
        at -= 1
    return (end - at) % 2 == 1


def _at(document: msgspec.Struct, path: str) -> bytes | None:
    raw: msgspec.Raw | None = getattr(document, path.partition(".")[0])
    return None if raw is None else _inside(bytes(raw), path.partition(".")[2])


def _inside(raw: bytes, path: str) -> bytes | None:
    """Give the value at a path below this one."""
    if not path:
        return raw
    head, _, rest = path.partition(".")
    inner = decode(raw, dict[str, msgspec.Raw])
    return _inside(bytes(inner[head]), rest) if inner is not None and head in inner else None
