"""What of a head goes on to the next hop, and the bytes of the head that does. Pure.

Fields keep their order, their case and their duplicates. What belongs to one hop goes (RFC 9110, section
7.6.1), and the framing is written anew by ``joulegate.gateway.http.framing``.
"""

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


def forwarded(headers: Headers, *, ours: bool = False) -> list[tuple[bytes, bytes]]:
    """Return the fields for the next hop, without framing; ``ours`` keeps ``Joulegate-*``."""
    nominated = connection_options(headers) - _NEVER_NOMINATED
    dropped = HOP_BY_HOP | nominated if nominated else HOP_BY_HOP
    return [
        (name, value)
        for name, value in headers
        if (lower := name.lower()) not in dropped and (ours or not lower.startswith(OURS))
    ]


def request_problem(method: str, target: str) -> str | None:
    """Return why a well-formed request must not go on, or ``None``."""
    if method == "CONNECT":
        return "CONNECT: this is a gate in front of fixed servers, not a forward proxy"
    if not target.startswith("/") and not (target == "*" and method == "OPTIONS"):
        return "the request target must begin with a slash: send the path only, not a whole URL"
    return None


def request_head(method: str, target: str, headers: Headers, framing: bytes) -> bytes:
    """Return the head of a request; ``framing`` is whole lines with their ends.

    Each character of ``target`` is one byte.
    """
    lines = [b"%b: %b\r\n" % field for field in headers]
    line = f"{method} {target} HTTP/1.1\r\n".encode("latin-1")
    return b"%b%b%b\r\n" % (line, b"".join(lines), framing)


def status_lines(status: int, reason: bytes, headers: Headers) -> bytes:
    """Return the first lines of the head of an answer, without framing and last empty line."""
    lines = [b"%b: %b\r\n" % field for field in headers]
    return b"HTTP/1.1 %d %b\r\n%b" % (status, reason, b"".join(lines))


def connection_options(headers: Headers) -> frozenset[bytes]:
    """Return the words of all ``Connection`` fields, in lower case."""
    named = [value for name, value in headers if name.lower() == b"connection"]
    if not named:
        return frozenset()
    return frozenset([word.strip(b" \t").lower() for value in named for word in value.split(b",")])
