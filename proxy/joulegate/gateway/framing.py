"""How the end of a message is told, on each side anew. Pure.

RFC 9112, section 6: a length, chunks, or (answers only) the end of the connection.
"""

from enum import Enum

from msgspec import Struct

LAST_CHUNK = b"0\r\n\r\n"
_LARGE = 16 * 1024
"""Above this, three pieces are cheaper to hand over than one copy."""


class Framing(Enum):
    """How a body ends."""

    NONE = "none"
    """There is no body."""
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """The end of the connection is the end of the body: nothing else tells a cut one from a whole one."""


class Answer(Struct, frozen=True):
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


def framing_of(answer: Answer) -> Framing:
    """Say how the answer to the client ends."""
    if bodiless(answer.method, answer.status):
        return Framing.NONE
    if answer.length is not None and not answer.chunked and not answer.changed:
        return Framing.LENGTH
    return Framing.CLOSE if answer.http10 else Framing.CHUNKED


def bodiless(method: str, status: int) -> bool:
    """Say whether an answer has no body whatever its fields say (RFC 9112, section 6.3)."""
    return method == "HEAD" or status in {204, 304} or status < 200


def answer_lines(answer: Answer, framing: Framing) -> bytes:
    """Give the lines of the head that tell the framing."""
    if framing is Framing.CHUNKED:
        return b"Transfer-Encoding: chunked\r\n"
    # HEAD and 304 say the length that the body would have; 204 may not (RFC 9110, section 8.6).
    if answer.length is not None and framing is not Framing.CLOSE and answer.status != 204:
        return b"Content-Length: %d\r\n" % answer.length
    return b""


def request_lines(length: int | None, *, chunked: bool) -> bytes:
    """Give the lines of a request's head that tell its framing; neither means no body."""
    if chunked:
        return b"Transfer-Encoding: chunked\r\n"
    return b"" if length is None else b"Content-Length: %d\r\n" % length


def chunk(data: bytes) -> list[bytes]:
    """Give one chunk as pieces to write; never the last one, which is empty."""
    if not data:
        return []
    if len(data) < _LARGE:
        return [b"%x\r\n%b\r\n" % (len(data), data)]
    return [b"%x\r\n" % len(data), data, b"\r\n"]
