"""Reads a few values out of a JSON body that passes by: small ones are decoded, large ones scanned."""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Protocol

import msgspec

from joulegate.framing.effort import TooMuchWork
from joulegate.framing.scan import HEAD, KEEP, Found, Path, Scanner
from joulegate.framing.values import decode

DECODED = 256 * 1024
"""Bytes of a document that are kept to be decoded, which takes a millisecond. What comes in several pieces
and is longer is scanned in constant memory; in one piece it is in memory already, and decoded too."""
_PLACE = "at_"


class Peek(Protocol):
    """Looks into a body that passes by."""

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the body."""
        ...

    def found(self) -> Found:
        """Return what is known so far."""
        ...


class JsonPeek:
    """Finds members of a document of any size: decodes it while it is small, else scans it."""

    def __init__(
        self,
        wanted: frozenset[str],
        counted: frozenset[str] = frozenset(),
        heads: frozenset[str] = frozenset(),
    ) -> None:
        self._wanted = wanted
        self._counted = counted
        self._heads = heads
        self._parts: list[bytes] = []
        self._size = 0
        self._scanner: Scanner | None = None
        self._found: Found | None = None
        self._whole = False
        """The document has been decoded, and with it all that there is to know."""

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the document."""
        if self._scanner:
            self._scanner.feed(chunk)
            return
        if self._whole:
            return
        self._found = None
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size <= DECODED:
            return
        if len(self._parts) == 1:
            self.found()
        if not self._whole:
            self._scanner = Scanner(self._wanted, self._counted, self._heads)
            parts, self._parts = self._parts, []
            for part in parts:
                self._scanner.feed(part)

    def found(self) -> Found:
        """Return what is known so far: of a broken or unfinished document, what precedes the break."""
        if self._scanner:
            return self._scanner.found
        if self._found is None:
            plan = _plan(self._wanted, self._counted, self._heads)
            text = b"".join(self._parts)
            try:
                whole: msgspec.Struct | None = msgspec.json.decode(text, type=plan.shape)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                whole = decode(text, plan.shape)
            if whole is None:
                self._found = self._scanned(text)
            else:
                self._found = plan.pick(whole)
                self._whole, self._parts = True, []  # A request may be open for long after its body was read.
        return self._found

    def _scanned(self, text: bytes) -> Found:
        """Return what a broken or unfinished document says, as far as it is worth the work."""
        scanner = Scanner(self._wanted, self._counted, self._heads)
        with suppress(TooMuchWork):
            scanner.feed(text)
        return scanner.found


class HeadPeek(JsonPeek):
    """Finds members of the JSON that a body begins with; what follows it is passed over unread."""

    def __init__(self, size: int, wanted: frozenset[str], counted: frozenset[str] = frozenset()) -> None:
        super().__init__(wanted, counted)
        self._left = size

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the body."""
        if self._left > 0:
            super().feed(chunk[: self._left])
            self._left -= len(chunk)


class PointerPeek:
    """Finds the values at JSON pointers, under names of their own, and counts the elements of arrays."""

    def __init__(self, pointers: Mapping[str, Path]) -> None:
        firsts: dict[Path, str] = {}
        self._same = {name: firsts.setdefault(parts, name) for name, parts in pointers.items()}
        names = list(firsts.values())
        self._scanner = Scanner(names, names, split=pointers.__getitem__)

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the document."""
        self._scanner.feed(chunk)

    def found(self) -> Found:
        """Return what is known so far, by name."""
        members, counts = self._scanner.found
        return Found(
            {name: members[first] for name, first in self._same.items() if first in members},
            {name: counts[first] for name, first in self._same.items() if first in counts},
        )


class _Plan:
    """How to take the wanted values out of a small document.

    Its type keeps only the members at the top of the wanted paths. The decoder passes over all others without
    making anything of them: a third of the time that a dictionary of all members takes.
    """

    def __init__(self, wanted: frozenset[str], counted: frozenset[str], heads: frozenset[str]) -> None:
        tops = sorted({path.partition(".")[0] for path in wanted | counted | heads})
        fields = [(_field(top), msgspec.Raw, None) for top in tops]
        self.shape = msgspec.defstruct(
            "Document", fields, rename=lambda name: name.removeprefix(_PLACE), gc=False
        )
        self._wanted = [_steps(path) for path in sorted(wanted)]
        self._counted = [_steps(path) for path in sorted(counted)]
        self._heads = [_steps(path) for path in sorted(heads)]

    def pick(self, document: msgspec.Struct) -> Found:
        """Return what is wanted of a document of this type."""
        found = Found({}, {})
        for path, top, rest in self._wanted:
            raw: msgspec.Raw | None = getattr(document, top)
            if raw is not None:
                value = _inside(bytes(raw), rest) if rest else bytes(raw)
                if value is not None and len(value) <= KEEP:
                    found.members[path] = value
        for path, top, rest in self._heads:
            value = _at(document, top, rest)
            if value is not None:
                found.members[path] = value[:HEAD].strip()
        for path, top, rest in self._counted:
            raw = getattr(document, top)
            if raw is None:
                continue
            value = _inside(bytes(raw), rest) if rest else bytes(raw)
            elements = decode(value, list[msgspec.Raw]) if value is not None else None
            if elements is not None:
                found.counts[path] = len(elements)
        return found


@lru_cache(maxsize=256)
def _plan(wanted: frozenset[str], counted: frozenset[str], heads: frozenset[str]) -> _Plan:
    """Return the plan for these paths; there is one for each observer class."""
    return _Plan(wanted, counted, heads)


def _steps(path: str) -> tuple[str, str, str]:
    """Return the path, the field at its top and the path below that."""
    top, _, rest = path.partition(".")
    return path, _field(top), rest


def _field(top: str) -> str:
    """Return the name of the field for a key: a place in an array is no name in Python."""
    return top if top.isidentifier() else _PLACE + top


def _at(document: msgspec.Struct, top: str, rest: str) -> bytes | None:
    raw: msgspec.Raw | None = getattr(document, top)
    return None if raw is None else _inside(bytes(raw), rest)


def _inside(raw: bytes, path: str) -> bytes | None:
    """Return the value at a path below this one."""
    if not path:
        return raw
    head, _, rest = path.partition(".")
    if raw[:1] == b"[":
        elements = decode(raw, list[msgspec.Raw]) or []
        at = int(head) if head.isdecimal() else len(elements)
        return _inside(bytes(elements[at]), rest) if at < len(elements) else None
    inner = decode(raw, dict[str, msgspec.Raw])
    return _inside(bytes(inner[head]), rest) if inner is not None and head in inner else None
