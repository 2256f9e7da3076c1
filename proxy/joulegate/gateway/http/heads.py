"""The grammar of heads: bytes in, a head or ``MalformedHead`` out. Pure.

RFC 9112, sections 2 to 6, without what that calls obsolete or lets a recipient repair: every line ends with
CR LF, no field is folded, no control character stands in a value, and the framing is told once. What two
servers could read in two ways is not read at all.
"""

import re
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from joulegate.gateway.http.encodings import is_encoded
from joulegate.gateway.http.framing import Framing, bodiless
from joulegate.gateway.http.headers import connection_options
from joulegate.ports import Fields, Headers

LARGEST_FIELD = 64 * 1024
LARGEST_HEAD = 192 * 1024
MOST_FIELDS = 256
LARGEST_LENGTH = 2**63 - 1
"""Largest length that every server reads the same: a signed 64-bit integer."""

_METHODS = frozenset(
    {
        "ACL", "BIND", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "M-SEARCH",
        "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST",
        "PROPFIND", "PROPPATCH", "PURGE", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE",
        "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    }
)  # fmt: skip
"""Those that llhttp knows, which most servers read with; QUERY is RFC 9110's newest companion."""
_REQUEST = re.compile(rb"([A-Z-]{1,16}) ([!\x22$-~\x80-\xff]+) HTTP/1\.([01])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_BROKEN = re.compile(rb"[^\t\r\n -~\x80-\xff]|(?<!\r)\n|\r[^\n]")
"""What no beginning of a head can hold."""
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?")
"""``uri-host [ ":" port ]`` (RFC 9110, section 7.2, and RFC 3986, section 3.2.2)."""
_LENGTH = re.compile(rb"[0-9]{1,19}")
_ONCE = frozenset({b"content-length", b"host", b"transfer-encoding"})
"""Fields of a request that decide framing and routing: they stand there once. All others pass in order."""


class MalformedHead(Exception):
    """These bytes are no head. Its text says why and repeats none of them."""

    def __init__(self, why: str, status: int = 400, code: str = "malformed") -> None:
        super().__init__(why)
        self.status = status
        self.code = code


class RequestHead:
    """The head of a request. Requests with the same head share one, so nothing changes it."""

    __slots__ = (
        "chunked", "encoded", "expects_go", "fields", "headers", "http10", "keep_alive", "key", "length",
        "method", "onward", "target", "upgrade",
    )  # fmt: skip

    def __init__(self, method: str, target: str, headers: Fields, *, http10: bool) -> None:
        fields = headers.first
        self.method = method
        self.target = target
        """Byte for byte, each byte a character: visible ASCII and bytes from 0x80 on, as curl sends UTF-8."""
        self.http10 = http10
        self.headers = headers
        """All fields in their order and case."""
        self.fields = fields
        """First value of each field by its name in lower case."""
        self.encoded = is_encoded(fields)
        """Its body is compressed, in whatever way."""
        if len(fields) != len(headers):
            _refuse_repeated(headers, _ONCE)
        self.chunked = _coded(fields, http10=http10)
        self.length = _length(fields.get(b"content-length"))
        """``None``: chunked, or no body at all."""
        if self.chunked and self.length is not None:
            raise MalformedHead("both Content-Length and Transfer-Encoding")
        _check_host(fields, http10=http10)
        options = connection_options(headers) if b"connection" in fields else frozenset()
        self.keep_alive = not http10 and b"close" not in options
        """The client would go on with this connection."""
        self.upgrade = _asks_websocket(method, fields, options) and not (
            http10 or self.chunked or self.length
        )
        """Asks for a websocket. A request with a body does not (CVE-2026-69243)."""
        self.expects_go = not http10 and fields.get(b"expect", b"").lower() == b"100-continue"
        self.key = method, target, fields.get(b"host", b"")
        """All that the choice of the upstream looks at, but for the model."""
        self.onward: dict[object, bytes] = {}
        """The head for each upstream that has had it."""


class ResponseHead:
    """The head of an answer. Answers with the same head share one, so nothing changes it."""

    __slots__ = (
        "bodiless",
        "chunked",
        "fields",
        "headers",
        "http10",
        "keep_alive",
        "length",
        "onward",
        "reason",
        "status",
    )

    def __init__(self, status: int, reason: bytes, headers: Fields, *, http10: bool) -> None:
        fields = headers.first
        self.status = status
        self.bodiless = bodiless("", status)
        """No body follows, whatever the method."""
        self.reason = reason
        """As it came."""
        self.http10 = http10
        self.headers = headers
        self.fields = fields
        coding = fields.get(b"transfer-encoding")
        if coding is not None and len(fields) != len(headers):
            _refuse_repeated(headers, frozenset({b"transfer-encoding"}))
        identity = coding is not None and coding.lower() == b"identity"
        self.chunked = not identity and _coded(fields, http10=http10)
        lengths = _lengths(headers)
        self.length = None if self.chunked else _length(lengths[0] if lengths else None)
        """Chunks win over a length, and equal lengths are one (RFC 9112, section 6.3)."""
        if not self.chunked and any(length != lengths[0] for length in lengths):
            raise MalformedHead("Content-Length is there twice with different values")
        doubled = identity or (self.chunked and bool(lengths)) or len(lengths) > 1
        self.keep_alive = not (http10 or doubled or b"close" in connection_options(headers))
        """The upstream would go on with this connection, and its framing was told once."""
        self.onward: dict[object, tuple[Framing, bytes]] = {}
        """Framing and lines for each kind of client that has had it."""

    @property
    def switches(self) -> bool:
        """This is the head of a 101 that begins another protocol."""
        return (
            self.status == 101
            and b"upgrade" in self.fields
            and b"upgrade" in connection_options(self.headers)
        )


def request_head(raw: bytes, known: "Lines | None" = None) -> RequestHead:
    """Read the head of a request, given without its last empty line. Raises ``MalformedHead``."""
    line, fields = _lines(raw, known)
    match = _REQUEST.fullmatch(line)
    if match is None:
        raise MalformedHead("the first line is no request line of HTTP/1.1")
    method, target, minor = match.groups()
    name = method.decode()
    if name not in _METHODS:
        raise MalformedHead("an unknown method")
    return RequestHead(name, target.decode("latin-1"), fields, http10=minor == b"0")


def response_head(raw: bytes, known: "Lines | None" = None) -> ResponseHead:
    """Read the head of an answer, given without its last empty line. Raises ``MalformedHead``."""
    line, fields = _lines(raw, known)
    match = _STATUS.fullmatch(line)
    if match is None:
        raise MalformedHead("the first line is no status line of HTTP/1.1")
    minor, status, reason = match.groups()
    return ResponseHead(int(status), reason or b"", fields, http10=minor == b"0")


def broken(begun: bytes | bytearray, start: int = 0) -> bool:
    """Whether what has come of a head can never be one; all before ``start`` has been looked at."""
    return _BROKEN.search(begun, max(0, start - 1)) is not None


Line = tuple[bytes, bytes]


class Lines:
    """Lines that were read before: most of a head is the same in the next one."""

    MOST = 1024
    LONGEST = 256
    """Bytes of a line that is worth remembering."""

    def __init__(self) -> None:
        self._known: dict[bytes, Line] = {}

    def fields(self, lines: list[bytes]) -> Fields:
        """Return the fields in these lines. Raises ``MalformedHead``."""
        known = self._known
        return Fields([known.get(line) or self._read(line) for line in lines])

    def _read(self, line: bytes) -> Line:
        field = _field(line)
        if len(line) <= self.LONGEST:
            if len(self._known) >= self.MOST:
                self._known.clear()
            self._known[line] = field
        return field


Head = TypeVar("Head", RequestHead, ResponseHead)


class HeadCache(Generic[Head]):
    """Heads that were read before: clients and servers repeat theirs, byte for byte."""

    MOST = 256
    LARGEST = 4096
    """Bytes of a head that is worth remembering."""

    def __init__(self, read: Callable[[bytes, Lines], Head]) -> None:
        self._read: Callable[[bytes, Lines], Head] = read
        self._lines = Lines()
        self.heads: dict[bytes, Head] = {}
        """By their bytes; ``head`` has those that are not here."""

    def head(self, raw: bytes) -> Head:
        """Return the head in these bytes, without their last empty line. Raises ``MalformedHead``."""
        head = self.heads.get(raw)
        if head is None:
            head = self._read(raw, self._lines)
            if len(raw) <= self.LARGEST:
                if len(self.heads) >= self.MOST:
                    self.heads.clear()
                self.heads[raw] = head
        return head


def _lines(raw: bytes, known: Lines | None) -> tuple[bytes, Fields]:
    """Return the first line and the fields. No line that is taken has a CR or LF in it."""
    if len(raw) > LARGEST_HEAD:
        raise MalformedHead(f"the head is larger than {LARGEST_HEAD} bytes", 431, "head_too_large")
    line, *lines = raw.split(b"\r\n")
    if len(lines) > MOST_FIELDS:
        raise MalformedHead(f"more than {MOST_FIELDS} fields")
    if len(raw) > LARGEST_FIELD and max(map(len, (line, *lines))) > LARGEST_FIELD:
        raise MalformedHead(f"a line of more than {LARGEST_FIELD} bytes")
    return line, known.fields(lines) if known is not None else Fields(map(_field, lines))


def _field(line: bytes) -> Line:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise MalformedHead("a line of the head that is no field of visible characters")
    return match[1], match[2].strip(b" \t")


def _refuse_repeated(headers: Headers, once: frozenset[bytes]) -> None:
    seen: set[bytes] = set()
    for name, _ in headers:
        lower = name.lower()
        if lower in once and lower in seen:
            raise MalformedHead(f"{lower.decode()} is there twice")
        seen.add(lower)


def _lengths(headers: Headers) -> list[bytes]:
    """Return every length that an answer tells, each member of a list apart."""
    fields = [value for name, value in headers if name.lower() == b"content-length"]
    return [part.strip(b" \t") for value in fields for part in value.split(b",")]


def _length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not _LENGTH.fullmatch(value) or int(value) > LARGEST_LENGTH:
        raise MalformedHead("Content-Length is no number of bytes that any body can have (up to 2^63 - 1)")
    return int(value)


def _coded(fields: Mapping[bytes, bytes], *, http10: bool) -> bool:
    value = fields.get(b"transfer-encoding")
    if value is None:
        return False
    if value.lower() != b"chunked":
        raise MalformedHead("a transfer coding other than chunked")
    if http10:
        raise MalformedHead("Transfer-Encoding in HTTP/1.0, which has none")
    return True


def _check_host(fields: Mapping[bytes, bytes], *, http10: bool) -> None:
    host = fields.get(b"host")
    if host is None:
        if not http10:
            raise MalformedHead("the Host field is missing")
    elif not _HOST.fullmatch(host):
        raise MalformedHead("the Host field has characters that no host name has")


def _asks_websocket(method: str, fields: Mapping[bytes, bytes], options: frozenset[bytes]) -> bool:
    return method == "GET" and b"upgrade" in options and fields.get(b"upgrade", b"").lower() == b"websocket"
