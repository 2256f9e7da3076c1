"""How the end of a message is told, on each side anew. Pure.

RFC 9112, section 6: a length, chunks, or (answers only) the end of the connection.
"""

import re
from enum import Enum

from msgspec import Struct

LAST_CHUNK = b"0\r\n\r\n"
_LARGE = 16 * 1024
"""Above this, three pieces are cheaper to hand over than one copy."""

_LARGEST_CHUNK = 2**63 - 1
_LONGEST_LINE = 4096
"""Bytes of a chunk's line with its extensions."""
_LONGEST_TRAILERS = 16 * 1024
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;%b(?:=(?:%b|%b))?)*+" % (_TOKEN, _TOKEN, _QUOTED))
_TRAILER = re.compile(rb"%b:[\t -~\x80-\xff]*" % _TOKEN)


class Framing(Enum):
    """How a body ends."""

    NONE = "none"
    """There is no body."""
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """The end of the connection is the end of the body: nothing else tells a cut one from a whole one."""


class AnswerFraming(Struct, frozen=True):
    """What framing needs to know of an exchange."""

    method: str
    status: int
    http10: bool
    """The client speaks HTTP/1.0, which knows no chunks."""
    length: int | None
    """``Content-Length`` of the upstream's answer."""
    chunked: bool
    """The upstream's answer came in chunks."""
    changed: bool = False
    """The body's length may change on the way."""


def framing_of(answer: AnswerFraming) -> Framing:
    """Return how the answer to the client ends."""
    if bodiless(answer.method, answer.status):
        return Framing.NONE
    if answer.length is not None and not answer.chunked and not answer.changed:
        return Framing.LENGTH
    return Framing.CLOSE if answer.http10 else Framing.CHUNKED


def bodiless(method: str, status: int) -> bool:
    """Whether an answer has no body whatever its fields say (RFC 9112, section 6.3)."""
    return method == "HEAD" or status in {204, 304} or status < 200


def answer_lines(answer: AnswerFraming, framing: Framing) -> bytes:
    """Return the lines of the head that tell the framing."""
    if framing is Framing.CHUNKED:
        return b"Transfer-Encoding: chunked\r\n"
    # HEAD and 304 say the length that the body would have; 204 may not (RFC 9110, section 8.6).
    if answer.length is not None and framing is not Framing.CLOSE and answer.status != 204:
        return b"Content-Length: %d\r\n" % answer.length
    return b""


def request_lines(length: int | None, *, chunked: bool) -> bytes:
    """Return the lines of a request's head that tell its framing; neither means no body."""
    if chunked:
        return b"Transfer-Encoding: chunked\r\n"
    return b"" if length is None else b"Content-Length: %d\r\n" % length


def chunk(data: bytes) -> list[bytes]:
    """Return one chunk as pieces to write; never the last one, which is empty."""
    if not data:
        return []
    if len(data) < _LARGE:
        return [b"%x\r\n%b\r\n" % (len(data), data)]
    return [b"%x\r\n" % len(data), data, b"\r\n"]


class MalformedBody(Exception):
    """The framing of a body is broken."""


class Chunks:
    """Reads a chunked body as it comes, whatever the pieces (RFC 9112, section 7.1).

    Every size is hexadecimal digits and nothing else, every line ends with CR LF; extensions and trailers are
    checked and end with this hop.
    """

    __slots__ = ("_held", "_left", "_size", "ended", "plain", "rest")

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the chunk that are still to come, with its CR LF."""
        self._held = b""
        """Beginning of a line, or the trailer section."""
        self._size = -1
        """Bytes of the trailer section so far; -1 before it."""
        self.ended = False
        self.plain = False
        """What was fed last is whole chunks, with nothing that ends with this hop."""
        self.rest = b""
        """What came behind the end of the body."""

    def alone(self, data: bytes) -> bytes:
        """Return the content if ``data`` is just one chunk in its usual form, else nothing: the quick way."""
        at = data.find(b"\r\n", 1, 18)
        size = len(data) - at - 4
        if (
            at > 0 < size
            and not self._left
            and not self._held
            and self._size < 0
            and data[:at].lower() == b"%x" % size
            and data.endswith(b"\r\n")
        ):
            return data[at + 2 : -2]
        return b""

    def feed(self, data: bytes) -> bytes:
        """Accept the next piece; return the content in it. Raises ``MalformedBody``."""
        parts: list[bytes] = []
        self.plain = not self._left and not self._held and self._size < 0
        if self._held:
            data, self._held = self._held + data, b""
        at = 0
        while at < len(data) and not self.ended:
            at = self._content(data, at, parts) if self._left else self._line(data, at)
        self.plain = self.plain and not self._left and not self._held and self._size < 0
        self.rest = data[at:] if self.ended else b""
        if self.rest:
            self.plain = False
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _content(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Accept content up to the end of the chunk; return where to go on."""
        end = min(at + self._left, len(data))
        content = max(at, min(end, at + self._left - 2))
        if content > at:
            parts.append(data[at:content])
        ending = data[content:end]
        self._left -= end - at
        if ending and ending != b"\r\n"[2 - self._left - len(ending) : 2 - self._left]:
            raise MalformedBody("a chunk that is longer than it says")
        return end

    def _line(self, data: bytes, at: int) -> int:
        """Accept one line outside of chunks; return where to go on."""
        end = data.find(b"\r\n", at)
        if end < 0:
            self._held = data[at:]
            if len(self._held) > (_LONGEST_LINE if self._size < 0 else _LONGEST_TRAILERS):
                raise MalformedBody("a line without end")
            if b"\n" in self._held or b"\r" in self._held[:-1]:
                raise MalformedBody("a line that does not end with CR LF")
            return len(data)
        if self._size >= 0:
            self._trailer(data[at:end])
        else:
            self._begin(data, at, end)
        return end + 2

    def _begin(self, data: bytes, at: int, end: int) -> None:
        match = _CHUNK_LINE.fullmatch(data, at, min(end, at + _LONGEST_LINE))
        if match is None or match.end() != end:
            raise MalformedBody("a chunk size that is none")
        size = int(match[1], 16)
        if size > _LARGEST_CHUNK:
            raise MalformedBody("a chunk that is larger than any can be")
        self.plain = self.plain and match.end(1) == end
        self._left = size + 2 if size else 0
        if not size:
            self._size = 0

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.ended = True
            return
        self.plain = False
        self._size += len(line) + 2
        if self._size > _LONGEST_TRAILERS or not _TRAILER.fullmatch(line):
            raise MalformedBody("a trailer that is none")
