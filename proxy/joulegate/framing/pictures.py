"""How large a picture is, by the first bytes of its file.

Formats: PNG (W3C PNG, third edition, section 11.2.1), JPEG (ITU T.81, annex B.2.2), WebP (RFC 9649, section
2), GIF (GIF89a, section 18). A size that is not in the first bytes is not known.
"""

import base64
import binascii
import re
import struct

from joulegate.framing.scan import HEAD, Found

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG frame, which begins with its size."""
_BASE64 = re.compile(rb'"?(?:data:[^,"]{1,100},)?([A-Za-z0-9+/]*)')
_MOST = 1 << 20
"""Pixels on a side; more is no picture."""

Size = tuple[int, int]


class PicturePeek:
    """Reads the size out of a body that is a picture itself: ``found`` counts it as ``pictures``."""

    def __init__(self) -> None:
        self._head = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the file."""
        self._head += chunk[: HEAD - len(self._head)]

    def found(self) -> Found:
        """Return ``picture.width`` and ``picture.height``, where the file says so."""
        size = size_of(bytes(self._head))
        members = {"picture.width": b"%d" % size[0], "picture.height": b"%d" % size[1]} if size else {}
        return Found(members, {"pictures": 1} if self._head else {})


def size_in(raw: bytes | None) -> Size | None:
    """Return width and height of a picture in base64 or a data URL, by the beginning of its JSON string."""
    match = _BASE64.match(raw or b"")
    text = match[1] if match else b""
    try:
        return size_of(base64.b64decode(text[: len(text) // 4 * 4]))
    except binascii.Error:
        return None


def size_of(head: bytes) -> Size | None:
    """Return width and height of a picture file by its first bytes."""
    try:
        size = _size(head)
    except struct.error:
        return None
    return size if size and 0 < size[0] <= _MOST and 0 < size[1] <= _MOST else None


def _size(head: bytes) -> Size | None:
    if head.startswith(_PNG) and head[12:16] == b"IHDR":
        return struct.unpack_from(">II", head, 16)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return struct.unpack_from("<HH", head, 6)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp(head)
    return _jpeg(head) if head.startswith(_JPEG) else None


def _webp(head: bytes) -> Size | None:
    kind = head[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", head, 24)
        return 1 + (high_w << 16 | low_w), 1 + (high_h << 16 | low_h)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(head: bytes) -> Size | None:
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in _FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None
