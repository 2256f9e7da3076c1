"""Which fields go on to the next hop, and which messages do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.gateway.http.headers import (
    connection_options,
    forwarded,
    request_head,
    request_problem,
    status_lines,
)

HOP = [
    b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade",
    b"HTTP2-Settings", b"Proxy-Authorization", b"Content-Length", b"CONNECTION", b"te",
]  # fmt: skip


@pytest.mark.parametrize("name", HOP)
def test_fields_of_one_hop_are_removed(name: bytes) -> None:
    """What is meant for the gate alone does not reach the next hop, in whatever case it is written."""
    assert forwarded([(b"A", b"1"), (name, b"x"), (b"B", b"2")]) == [(b"A", b"1"), (b"B", b"2")]


def test_fields_that_connection_names_are_removed() -> None:
    """The message itself may say that a field is for this hop only (RFC 9110, section 7.6.1)."""
    fields = [
        (b"Connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"connection", b"y"),
        (b"Y", b"2"),
        (b"Z", b"3"),
    ]
    assert forwarded(fields) == [(b"Z", b"3")]


@pytest.mark.parametrize("name", [b"Host", b"Authorization", b"Content-Type", b"X-API-Key"])
def test_a_nomination_cannot_take_away_what_a_message_means(name: bytes) -> None:
    """Nobody strips a credential or the host on its way through the gate."""
    assert (name, b"v") in forwarded([(b"Connection", name), (name, b"v")])


def test_duplicates_keep_their_order_and_their_case() -> None:
    """Two fields of one name stay two, in their place."""
    fields = [(b"Set-Cookie", b"a=1"), (b"x-B", b"2"), (b"set-cookie", b"c=3")]
    assert forwarded(fields) == fields


def test_nobody_else_speaks_in_our_name() -> None:
    """``Joulegate-*`` that comes from outside does not go on."""
    fields = [(b"Joulegate-Request-Id", b"fake"), (b"joulegate-energy-joules", b"0"), (b"A", b"1")]
    assert forwarded(fields) == [(b"A", b"1")]


@given(st.lists(st.tuples(st.from_regex(rb"[A-Za-z-]{1,12}", fullmatch=True), st.binary(max_size=20))))
def test_forwarding_only_ever_removes(fields: list[tuple[bytes, bytes]]) -> None:
    """The gate adds no field and changes none."""
    rest = iter(fields)
    assert all(any(field == other for other in rest) for field in forwarded(fields))


@pytest.mark.parametrize(
    ("method", "target", "word"),
    [
        ("CONNECT", "example.org:443", "CONNECT"),
        ("GET", "http://example.org/", "slash"),
        ("GET", "*", "slash"),
        ("GET", "?", "slash"),
    ],
)
def test_a_request_that_may_not_go_on_is_told_why(method: str, target: str, word: str) -> None:
    """A refused request names the part that is wrong."""
    assert word in (request_problem(method, target) or "")


def test_a_path_and_an_asterisk_may_go_on() -> None:
    """The two forms of a target that a server is sent (RFC 9112, section 3.2)."""
    assert request_problem("GET", "/a") is None
    assert request_problem("OPTIONS", "*") is None


def test_all_connection_fields_count() -> None:
    """A second field says as much as the first."""
    assert connection_options([(b"Connection", b"a , B"), (b"X", b"c"), (b"connection", b"d")]) == {
        b"a", b"b", b"d",
    }  # fmt: skip


def test_the_first_lines_of_an_answer_keep_its_reason() -> None:
    """A phrase that is no UTF-8 goes on as it came."""
    assert status_lines(200, b"caf\xe9", [(b"a", b"1")]) == b"HTTP/1.1 200 caf\xe9\r\na: 1\r\n"


def test_a_head_is_written_as_it_was_read() -> None:
    """The target goes on byte for byte."""
    head = request_head("GET", "/a%2F//../?", [(b"host", b"x")], b"")
    assert head == b"GET /a%2F//../? HTTP/1.1\r\nhost: x\r\n\r\n"
