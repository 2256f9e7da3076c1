"""The grammar of heads, alone and against the parsers of others."""

import asyncio
from collections.abc import Callable
from typing import Any

import h11
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpResponseParser
from hypothesis import assume, given
from hypothesis import strategies as st

from joulegate.gateway.http.headers import request_problem
from joulegate.gateway.http.heads import (
    LARGEST_FIELD,
    MOST_FIELDS,
    HeadCache,
    Lines,
    MalformedHead,
    RequestHead,
    broken,
    request_head,
    response_head,
)
from joulegate.ports import Fields, by_name

GET = b"GET / HTTP/1.1\r\nHost: a"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK"

NO_REQUESTS = {
    "nothing": b"",
    "an empty line first": b"\r\n" + GET,
    "no version": b"GET /\r\nHost: a",
    "HTTP/0.9": b"GET / HTTP/0.9\r\nHost: a",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a",
    "version in lower case": b"GET / http/1.1\r\nHost: a",
    "version with a long minor": b"GET / HTTP/1.11\r\nHost: a",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: a",
    "method in lower case": b"get / HTTP/1.1\r\nHost: a",
    "no target": b"GET  HTTP/1.1\r\nHost: a",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: a",
    "a tab for a blank": b"GET\t/ HTTP/1.1\r\nHost: a",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: a",
    "a blank at the end": b"GET / HTTP/1.1 \r\nHost: a",
    "a fragment in the target": b"GET /a#b HTTP/1.1\r\nHost: a",
    "a fragment behind a query": b"GET /a?b#c HTTP/1.1\r\nHost: a",
    "DEL in the target": b"GET /\x7f HTTP/1.1\r\nHost: a",
    "bare LF": b"GET / HTTP/1.1\nHost: a",
    "bare LF between fields": GET + b"\nA: 1",
    "bare CR in a value": GET + b"\r\nA: x\ry",
    "CR CR LF": GET + b"\r\r\nA: x",
    "NUL in a value": GET + b"\r\nA: x\x00y",
    "NUL in a name": GET + b"\r\nA\x00: x",
    "escape in a value": GET + b"\r\nA: \x1b[31m",
    "vertical tab": GET + b"\r\nA: x\x0by",
    "folded line": GET + b"\r\nA: x\r\n y",
    "folded first field": b"GET / HTTP/1.1\r\n Host: a",
    "folded by a tab": GET + b"\r\nA: x\r\n\ty",
    "blank before the colon": GET + b"\r\nA : x",
    "blank in a name": GET + b"\r\nA b: x",
    "no colon": GET + b"\r\nAbc",
    "no name": GET + b"\r\n: x",
    "a name that is not ASCII": GET + b"\r\n\xc3\xa9: x",
    "parenthesis in a name": GET + b"\r\nA(b): x",
    "no Host": b"GET / HTTP/1.1\r\nA: 1",
    "two Hosts": GET + b"\r\nHost: a",
    "a list of Hosts": b"GET / HTTP/1.1\r\nHost: a, b",
    "a path for a Host": b"GET / HTTP/1.1\r\nHost: a/b",
    "user at Host": b"GET / HTTP/1.1\r\nHost: u@a",
    "two ports": b"GET / HTTP/1.1\r\nHost: a:1:2",
    "both framings": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked",
    "both framings, other order": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    "repeated length": POST + b"Content-Length: 3\r\nContent-Length: 3",
    "two lengths": POST + b"Content-Length: 3\r\ncontent-length: 4",
    "a list of lengths": POST + b"Content-Length: 3, 3",
    "length with a sign": POST + b"Content-Length: +3",
    "negative length": POST + b"Content-Length: -3",
    "length with a blank": POST + b"Content-Length: 3 0",
    "length with an underscore": POST + b"Content-Length: 1_0",
    "length in hexadecimal": POST + b"Content-Length: 0x3",
    "length in other digits": POST + "Content-Length: \u0663".encode(),
    "empty length": POST + b"Content-Length:",
    "length of 2^63": POST + b"Content-Length: 9223372036854775808",
    "endless length": POST + b"Content-Length: " + b"9" * 50,
    "other coding": POST + b"Transfer-Encoding: gzip",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked",
    "chunked in two fields": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "identity": POST + b"Transfer-Encoding: identity",
    "empty coding": POST + b"Transfer-Encoding:",
    "chunked with a parameter": POST + b"Transfer-Encoding: chunked;q=1",
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"',
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked",
    "too many fields": GET + b"\r\nA: 1" * MOST_FIELDS,
    "a large field": GET + b"\r\nA: " + b"x" * LARGEST_FIELD,
    "a large target": b"GET /" + b"x" * LARGEST_FIELD + b" HTTP/1.1\r\nHost: a",
}

NO_ANSWERS = {
    "nothing": b"",
    "a request": GET,
    "no status": b"HTTP/1.1 OK",
    "a long status": b"HTTP/1.1 2000 OK",
    "a short status": b"HTTP/1.1 20 OK",
    "status with a sign": b"HTTP/1.1 +20 OK",
    "status below 100": b"HTTP/1.1 099 OK",
    "no blank before the reason": b"HTTP/1.1 200OK",
    "HTTP/2": b"HTTP/2 200 OK",
    "CR in the reason": b"HTTP/1.1 200 O\rK",
    "escape in the reason": b"HTTP/1.1 200 \x1b[2J",
    "bare LF": OK + b"\nA: 1",
    "folded line": OK + b"\r\nA: 1\r\n 2",
    "NUL in a value": OK + b"\r\nA: x\x00y",
    "blank in a name": OK + b"\r\nA b: 1",
    "two lengths": OK + b"\r\nContent-Length: 1\r\nContent-Length: 2",
    "a list of two lengths": OK + b"\r\nContent-Length: 1, 2",
    "an empty length in a list": OK + b"\r\nContent-Length: 1,",
    "chunked twice": OK + b"\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "other coding": OK + b"\r\nTransfer-Encoding: gzip, chunked",
    "negative length": OK + b"\r\nContent-Length: -1",
}


@pytest.mark.parametrize("kind", NO_REQUESTS)
def test_what_could_be_read_in_two_ways_is_no_request(kind: str) -> None:
    """Nothing that another server could understand otherwise is understood at all."""
    with pytest.raises(MalformedHead) as problem:
        request_head(NO_REQUESTS[kind])
    assert str(problem.value).isprintable()


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_what_could_be_read_in_two_ways_is_no_answer(kind: str) -> None:
    """An upstream cannot split our answer or write to our user's terminal (CVE-2026-34520)."""
    with pytest.raises(MalformedHead):
        response_head(NO_ANSWERS[kind])


def test_a_request_keeps_every_byte_that_goes_on() -> None:
    """Target, order, case and duplicates stay; blanks around a value are none of it."""
    head = request_head(b"GET //a/../%2f?&& HTTP/1.1\r\nhOsT: x:80\r\nB:\t 1 \r\nb: 2\r\nC:\r\nD: caf\xe9\t;")
    assert (head.method, head.target) == ("GET", "//a/../%2f?&&")
    assert head.headers == (
        (b"hOsT", b"x:80"), (b"B", b"1"), (b"b", b"2"), (b"C", b""), (b"D", b"caf\xe9\t;"),
    )  # fmt: skip
    assert head.fields[b"b"] == b"1"


def test_a_target_passes_byte_for_byte_whatever_its_characters() -> None:
    """Raw UTF-8 in a path or query, as curl sends it, is each byte as it came."""
    target = "/view?filename=\u732b".encode()
    head = request_head(b"GET " + target + b" HTTP/1.1\r\nHost: a")
    assert head.target.encode("latin-1") == target


@pytest.mark.parametrize("name", [b"User-Agent", b"Content-Type", b"ETag", b"Server", b"Cookie", b"X-Any"])
def test_fields_that_decide_no_framing_may_come_twice(name: bytes) -> None:
    """They pass in their order, in requests and in answers, equal or not."""
    twice = b"\r\n%b: a/b\r\n%b: a/c" % (name, name.lower())
    for head in (request_head(GET + twice), response_head(OK + twice)):
        assert [field for field in head.headers if field[0].lower() == name.lower()] == [
            (name, b"a/b"), (name.lower(), b"a/c"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "length", "chunked"),
    [
        (b"Content-Length: 1\r\nTransfer-Encoding: chunked", None, True),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 1", None, True),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\nContent-Length: 2", None, True),
        (b"Content-Length: 3\r\nContent-Length: 3", 3, False),
        (b"Content-Length: 3, 3", 3, False),
        (b"Transfer-Encoding: identity\r\nContent-Length: 3", 3, False),
        (b"Transfer-Encoding: Identity", None, False),
    ],
)
def test_doubled_framing_of_an_answer_is_read_as_the_rfc_says(
    fields: bytes, length: int | None, chunked: bool
) -> None:
    """Chunks win over a length, equal lengths are one, and the connection is not used again."""
    head = response_head(OK + b"\r\n" + fields)
    assert (head.length, head.chunked, head.keep_alive) == (length, chunked, False)


@pytest.mark.parametrize(
    ("raw", "length", "chunked", "keep_alive"),
    [
        (GET, None, False, True),
        (GET + b"\r\nConnection: close", None, False, False),
        (GET + b"\r\nConnection: keep-alive\r\nConnection: x, Close", None, False, False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive", None, False, False),
        (POST + b"Content-Length: 0", 0, False, True),
        (POST + b"Content-Length: 9223372036854775807", 2**63 - 1, False, True),
        (POST + b"Transfer-Encoding: Chunked", None, True, True),
    ],
)
def test_a_request_says_how_it_ends(raw: bytes, length: int | None, chunked: bool, keep_alive: bool) -> None:
    """Its framing is told once, and so is whether its connection goes on."""
    head = request_head(raw)
    assert (head.length, head.chunked, head.keep_alive) == (length, chunked, keep_alive)


@pytest.mark.parametrize("host", [b"", b"a", b"a.example:8080", b"127.0.0.1", b"[::1]:80", b"a_b", b"x%20y"])
def test_every_host_that_may_be_is_taken(host: bytes) -> None:
    """A host is a name, an address or empty, with or without a port."""
    assert request_head(b"GET / HTTP/1.1\r\nHost: " + host).key == ("GET", "/", host)


UPGRADE = b"\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket"


@pytest.mark.parametrize(
    ("raw", "asks"),
    [
        (GET + UPGRADE, True),
        (GET + UPGRADE + b"\r\nContent-Length: 0", True),
        (GET + UPGRADE + b"\r\nContent-Length: 1", False),
        (GET + UPGRADE + b"\r\nTransfer-Encoding: chunked", False),
        (POST + UPGRADE[2:], False),
        (b"GET / HTTP/1.0" + UPGRADE, False),
        (GET + b"\r\nUpgrade: websocket", False),
        (GET + b"\r\nConnection: upgrade\r\nUpgrade: h2c", False),
    ],
)
def test_only_a_get_without_a_body_asks_for_a_websocket(raw: bytes, asks: bool) -> None:
    """Bytes of a body can never be taken for the new protocol's (CVE-2026-69243)."""
    assert request_head(raw).upgrade is asks


def test_an_answer_says_what_it_is() -> None:
    """Also one without a reason, and one that switches protocols."""
    head = response_head(b"HTTP/1.1 404 \r\nContent-Length: 7\r\nConnection: close\r\nServer: a\r\nServer: b")
    assert (head.status, head.reason, head.length, head.keep_alive) == (404, b"", 7, False)
    assert response_head(b"HTTP/1.0 200").keep_alive is False
    assert response_head(b"HTTP/1.1 200 caf\xe9").reason == b"caf\xe9"
    switch = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: "
    assert response_head(switch + b"Upgrade").switches
    assert not response_head(switch + b"close").switches


@given(st.integers(0, 3), st.sampled_from([b"\x00", b"\n", b"\x16", b"\x7f", b"\rx"]))
def test_a_beginning_that_can_become_nothing_is_seen_at_once(fields: int, fault: bytes) -> None:
    """Nobody waits for the end of a head that has a fault already, wherever the pieces are cut."""
    good = GET + b"\r\nA: 1" * fields
    begun = good + fault
    assert all(not broken(good[:cut]) for cut in range(len(good)))
    assert broken(begun)
    assert broken(begun, len(begun) - 1)


def test_lines_are_the_same_whether_they_were_read_before() -> None:
    """What is remembered of lines is bounded, and changes nothing."""
    lines = Lines()
    raw = GET + b"\r\nA:  1 \r\nB: " + b"x" * Lines.LONGEST
    for _ in range(2):
        assert request_head(raw, lines).headers == request_head(raw).headers
    assert list(lines._known) == [b"Host: a", b"A:  1 "]
    for number in range(Lines.MOST + 1):
        request_head(GET + b"\r\nA: %d" % number, lines)
    assert len(lines._known) <= Lines.MOST
    for _ in range(2):
        with pytest.raises(MalformedHead):
            request_head(GET + b"\r\nA : 1", lines)


def test_repeated_heads_are_read_once_and_not_for_ever() -> None:
    """A head that is known is given again; what is remembered has a bound, and no fault is remembered."""
    read: list[bytes] = []

    def reading(raw: bytes, lines: Lines) -> RequestHead:
        read.append(raw)
        return request_head(raw, lines)

    known = HeadCache(reading)
    assert known.head(GET) is known.head(GET)
    large = GET + b"\r\nA: " + b"x" * HeadCache.LARGEST
    assert known.head(large) is not known.head(large)
    for number in range(HeadCache.MOST + 1):
        known.head(GET + b"\r\nA: %d" % number)
    assert len(known.heads) <= HeadCache.MOST
    for _ in range(2):
        with pytest.raises(MalformedHead):
            known.head(b"nothing")
    assert read.count(GET) == 1
    assert read.count(b"nothing") == 2


# --- against the parsers of others ---------------------------------------------------------------------

PIECES = [
    b"Host: a", b"host: b:80", b"Content-Length: 3", b"Content-Length: 03", b"content-length:3 ",
    b"Content-Length: -0", b"Transfer-Encoding: chunked", b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: chunked,", b"TE: trailers", b"Connection: close",
    b"Connection: upgrade, keep-alive", b"Upgrade: websocket", b"A: \xff", b"A:", b"A:b:c",
    b"Expect: 100-continue", b"X-Y_z~: 1", b" x", b"\x0b: 1", b"A: x\r", b"A: x\n", b"A\t: 1",
    b"Content-Type: a/b",
]  # fmt: skip
LINES = [
    b"GET / HTTP/1.1",
    b"POST /a?b HTTP/1.1",
    b"GET * HTTP/1.0",
    b"HEAD http://a/ HTTP/1.1",
    b"QUERY /x HTTP/1.1",
]
STATUSES = [b"HTTP/1.1 200 OK", b"HTTP/1.0 404 Not Found", b"HTTP/1.1 500 ", b"HTTP/1.1 299 \xe9"]


def heads(first: list[bytes]) -> st.SearchStrategy[bytes]:
    """Heads made of usual and unusual lines, some with bytes changed, put in or taken out."""
    lines = st.tuples(st.sampled_from(first), st.lists(st.sampled_from(PIECES), max_size=6))
    whole = lines.map(lambda parts: b"\r\n".join([parts[0], *parts[1]]))
    change = st.tuples(st.integers(0, 200), st.integers(0, 1), st.binary(max_size=2))
    return st.tuples(whole, st.lists(change, max_size=2)).map(lambda made: changed(*made))


def changed(raw: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for at, taken, put in changes:
        place = at % (len(raw) + 1)
        raw = raw[:place] + put + raw[place + taken :]
    return raw


def theirs(parser: Callable[..., Any], raw: bytes) -> Any:
    """Give what aiohttp's C parser makes of a head, with the limits that are ours."""
    loop = asyncio.new_event_loop()
    try:
        reader = parser(
            BaseProtocol(loop), loop, 2**16,
            max_line_size=LARGEST_FIELD, max_field_size=LARGEST_FIELD, max_headers=MOST_FIELDS,
        )  # fmt: skip
        messages, _, _ = reader.feed_data(raw + b"\r\n\r\n")
        return messages[0][0]
    finally:
        loop.close()


@given(heads(LINES))
def test_other_parsers_read_the_same_request(raw: bytes) -> None:
    """Whatever we take, llhttp (through aiohttp) and h11 take, and they understand the same."""
    try:
        head = request_head(raw)
    except MalformedHead:
        return
    assume(request_problem(head.method, head.target) is None)
    assume(head.target.isascii())  # llhttp takes no raw UTF-8, which curl sends and servers read
    names = [name.lower() for name, _ in head.headers]
    assume(len(names) == len(set(names)))  # aiohttp refuses some fields that come twice and decide nothing
    message = theirs(HttpRequestParser, raw)
    assert (message.method, message.path) == (head.method, head.target)
    assert message.raw_headers == head.headers
    assert bool(message.chunked) == head.chunked
    assert not (head.keep_alive and message.should_close)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw + b"\r\n\r\n")
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (head.method.encode(), head.target.encode("latin-1"))
    assert list(event.headers) == [(name.lower(), value) for name, value in head.headers]


FRAMING = {b"content-length", b"transfer-encoding"}


@given(heads(STATUSES))
def test_other_parsers_read_the_same_answer(raw: bytes) -> None:
    """The same for what upstreams say."""
    try:
        head = response_head(raw)
    except MalformedHead:
        return
    try:
        message = theirs(HttpResponseParser, raw)
    except HttpProcessingError:
        # Framing that is told more than once, or a coding that is none: stricter parsers refuse it.
        framing = [name for name, _ in head.headers if name.lower() in FRAMING]
        assert len(framing) > 1 or head.fields.get(b"transfer-encoding", b"").lower() == b"identity", raw
        assert not head.keep_alive
        return
    assert (message.code, message.raw_headers) == (head.status, head.headers)
    assert bool(message.chunked) == head.chunked
    framed = head.chunked or head.length is not None
    assert not (framed and head.keep_alive and message.should_close)


def test_the_first_field_of_a_name_is_found_in_any_case() -> None:
    """Names of fields have no case; a head is indexed once for all who ask."""
    pairs = [(b"A", b"1"), (b"X-y", b"2"), (b"x-Y", b"3")]
    assert by_name(pairs) == {b"a": b"1", b"x-y": b"2"}
    fields = Fields(pairs)
    assert by_name(fields) is by_name(fields)
    assert fields == tuple(pairs)
