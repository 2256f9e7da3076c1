"""Reads small fields out of a ``multipart/form-data`` body that passes by.

Files are skipped unread, but for the beginning and the size of those that are asked for.

The grammar is RFC 7578 over RFC 2046, section 5.1 (https://www.rfc-editor.org/rfc/rfc2046#section-5.1).
"""

import re
from collections.abc import Iterable
from enum import Enum

import msgspec

from joulegate.framing.effort import PARTS, TooMuchWork
from joulegate.framing.scan import Found

_FIELD_LIMIT = 4 * 1024
_HEAD_LIMIT = 16 * 1024
_BOUNDARY = re.compile(rb'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="?([^";]*)"?')
_FILE = re.compile(rb"[;\s]filename\*?=")


class _Place(Enum):
    BODY = "in a part, or before the first"
    MARK = "behind a boundary"
    HEAD = "in the head of a part"
    DONE = "behind the last boundary, or lost"


class MultipartPeek:
    """Finds text fields by name, whatever the chunking, in constant memory."""

    def __init__(self, content_type: bytes, wanted: Iterable[str], files: Iterable[str] = ()) -> None:
        match = _BOUNDARY.search(content_type)
        self._wanted = frozenset(wanted)
        self._files = frozenset(files)
        self._file: str | None = None
        self._size = 0
        self._delimiter = b"\r\n--" + ((match[1] or match[2]) if match else b"")
        self._place = _Place.BODY if match else _Place.DONE
        self._held = b"\r\n"  # a boundary at the very start has no line end before it
        self._at = 0
        """Where in it the next step begins."""
        self._parts = 0
        self._name: str | None = None
        self._value = b""
        self._steps = {_Place.BODY: self._body, _Place.MARK: self._mark, _Place.HEAD: self._head}
        self._found = Found({}, {})

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the body. Raises ``TooMuchWork``."""
        if self._place not in self._steps:
            return
        self._held += chunk
        while (step := self._steps.get(self._place)) and step():
            pass
        self._held, self._at = self._held[self._at :], 0

    def found(self) -> Found:
        """Return the fields that are complete: each as the raw JSON string of its text.

        Of a file that was asked for, the member is its first bytes and the count its size.
        """
        return self._found

    def _body(self) -> bool:
        end = self._held.find(self._delimiter, self._at)
        if end < 0:
            rest = max(self._at, len(self._held) - len(self._delimiter) + 1)
            self._take(self._held[self._at : rest])
            self._at = rest
            return False
        self._take(self._held[self._at : end])
        self._at = end + len(self._delimiter)
        self._parts += 1
        if self._parts > PARTS:
            raise TooMuchWork(f"a form of more than {PARTS} parts")
        self._finish_field()
        self._place = _Place.MARK
        return True

    def _mark(self) -> bool:
        if len(self._held) - self._at < 2:
            return False
        self._place = _Place.DONE if self._held.startswith(b"--", self._at) else _Place.HEAD
        return True

    def _head(self) -> bool:
        end = self._held.find(b"\r\n\r\n", self._at)
        if end < 0:
            if len(self._held) - self._at > _HEAD_LIMIT:
                self._place = _Place.DONE
            return False
        self._name, self._file = self._names(self._held[self._at : end])
        self._size = 0
        self._at = end + 4
        self._place = _Place.BODY
        self._value = b""
        return True

    def _names(self, head: bytes) -> tuple[str | None, str | None]:
        """Return the name of a wanted field, or of a wanted file."""
        match = _NAME.search(head)
        name = match[1].decode(errors="replace") if match else ""
        if _FILE.search(head):
            return None, name if name in self._files else None
        return name if name in self._wanted else None, None

    def _take(self, part: bytes) -> None:
        if self._file is not None:
            self._size += len(part)
            self._value += part[: _FIELD_LIMIT - len(self._value)]
        if self._name is None:
            return
        self._value += part
        if len(self._value) > _FIELD_LIMIT:
            self._name = None

    def _finish_field(self) -> None:
        if self._name is not None:
            text = self._value.decode(errors="replace")
            self._found.members[self._name] = msgspec.json.encode(text)
        if self._file is not None:
            self._found.members[self._file] = self._value
            self._found.counts[self._file] = self._size
        self._name = self._file = None
