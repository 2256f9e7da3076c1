"""What of a head goes on to the next hop, and the bytes of the head that does. Pure.

Fields keep their order, their case and their duplicates. What belongs to one hop goes (RFC 9110, section
7.6.1), and the framing is written anew by ``joulegate.gateway.framing``.
"""

import re

from joulegate.ports import Headers

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
        b"upgrade", b"http2-settings", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-authentication-info", b"content-length",
    }
)  # fmt: skip
"""Never copied. ``Content-Length`` is end to end, but only the framing decides what it says."""

_NEVER_NOMINATED = frozenset({b"host", b"authorization", b"x-api-key", b"content-type", b"content-encoding"})
"""Fields without which a message means something else: a ``Connection`` field cannot take them out."""

OURS = b"joulegate-"
"""Only the gate itself speaks in this name."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_TOKEN = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
"""What cannot stand in the name of a field."""
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?")
"""``uri-host [ ":" port ]`` (RFC 9110, section 7.2, and RFC 3986, section 3.2.2)."""
_LARGEST = 2**63 - 1
"""Largest length that every server reads the same: a signed 64-bit integer."""


def first(headers: Headers, name: bytes) -> bytes | None:
    """Give the value of the first field of that name (in lower case), or ``None``."""
    for field, value in headers:
        if field.lower() == name:
            return value
    return None


def index(headers: Headers) -> dict[bytes, bytes]:
    """Give the first value of each field by its name in lower case."""
    return {name.lower(): value for name, value in reversed(headers)}


def forwarded(headers: Headers, *, ours: bool = False) -> list[tuple[bytes, bytes]]:
    """Give the fields for the next hop, without framing; ``ours`` keeps ``Joulegate-*``."""
    nominated = _nominated(headers)
    dropped = HOP_BY_HOP | nominated if nominated else HOP_BY_HOP
    return [
        (name, value)
        for name, value in headers
        if (lower := name.lower()) not in dropped and (ours or not lower.startswith(OURS))
    ]


def request_problem(method: str, target: str, headers: Headers) -> str | None:
    """Say why a request must not go on, or ``None``. The parser has refused broken framing before."""
    if method == "CONNECT":
        return "CONNECT: this is a gate in front of fixed servers, not a forward proxy"
    if not target.startswith("/") and not (target == "*" and method == "OPTIONS"):
        return "the request target must begin with a slash: send the path only, not a whole URL"
    for name, value in headers:
        lower = name.lower()
        if lower == b"host" and not _HOST.fullmatch(value):
            return "the Host field has characters that no host name has"
        if lower == b"content-length" and int(value) > _LARGEST:
            return "Content-Length is larger than any body can be (2^63 - 1)"
        if lower == b"transfer-encoding" and value.strip().lower() != b"chunked":
            return "Transfer-Encoding: only chunked is understood"
    return None


def response_problem(reason: bytes, headers: Headers) -> str | None:
    """Say why the head of an answer is none, or ``None``."""
    if _CONTROL.search(reason):
        return "a control character in the reason phrase"
    names = [name.lower() for name, _ in headers]
    if b"" in names or _NO_TOKEN.search(b"".join(names)):
        return "a field name that is none"
    if _CONTROL.search(b"".join([value for _, value in headers])):
        return "a control character in a field value"
    if b"transfer-encoding" in names and not _only_chunked(headers):
        return "a transfer coding other than chunked"
    return None


def request_head(method: str, target: str, headers: Headers, framing: bytes) -> bytes:
    """Give the head of a request; ``framing`` is whole lines with their ends."""
    lines = [b"%b: %b\r\n" % field for field in headers]
    line = f"{method} {target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape")
    return b"%b%b%b\r\n" % (line, b"".join(lines), framing)


def response_head(status: int, reason: bytes, headers: Headers, framing: bytes) -> bytes:
    """Give the head of an answer; ``framing`` is whole lines with their ends."""
    lines = [b"%b: %b\r\n" % field for field in headers]
    return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (status, reason, b"".join(lines), framing)


def _only_chunked(headers: Headers) -> bool:
    codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    return all(coding.strip().lower() == b"chunked" for coding in codings)


def _nominated(headers: Headers) -> frozenset[bytes]:
    """Give the fields that the message itself says belong to this hop."""
    named = [value for name, value in headers if name.lower() == b"connection"]
    if not named:
        return frozenset()
    return frozenset(word.strip().lower() for value in named for word in value.split(b",")) - _NEVER_NOMINATED
