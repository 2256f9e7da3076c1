"""Where the members of an object stand in its JSON text, for whoever changes one and keeps the rest."""

import re
from typing import NamedTuple

from joulegate.framing.values import key_of

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]', re.DOTALL)
_OPEN, _CLOSE = b"{[", b"}]"
_COMMA, _COLON = b",:"


class ByteRange(NamedTuple):
    """A member of a JSON object and the place of its value in the text."""

    key: str
    start: int
    end: int


def spans(text: bytes) -> list[ByteRange]:
    """Return the members of a valid JSON object in their order, repeated keys too."""
    members = []
    depth = 0
    string, key, start = b"", None, 0
    for token in _TOKEN.finditer(text):
        mark, at = text[token.start()], token.start()
        if mark in _OPEN:
            depth += 1
        elif depth == 1 and (mark == _COMMA or mark in _CLOSE):
            if key is not None:
                members.append(_span(text, key, start, at))
            key = None
            depth -= mark in _CLOSE
        elif mark in _CLOSE:
            depth -= 1
        elif depth == 1 and mark == _COLON:
            key, start = key_of(string[1:-1]), token.end()
        elif depth == 1:
            string = token[0]
    return members


def _span(text: bytes, key: str, start: int, end: int) -> ByteRange:
    value = text[start:end]
    return ByteRange(key, start + len(value) - len(value.lstrip()), end - len(value) + len(value.rstrip()))
