"""How a message ends on the other side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.gateway.framing import (
    LAST_CHUNK,
    Answer,
    Framing,
    answer_lines,
    bodiless,
    chunk,
    framing_of,
    request_lines,
)


def answer(**known: object) -> Answer:
    return Answer(
        **({"method": "GET", "status": 200, "http10": False, "length": None, "chunked": False} | known)
    )


@pytest.mark.parametrize(
    ("known", "framing", "lines"),
    [
        ({"length": 5}, Framing.LENGTH, b"Content-Length: 5\r\n"),
        ({"chunked": True}, Framing.CHUNKED, b"Transfer-Encoding: chunked\r\n"),
        ({}, Framing.CHUNKED, b"Transfer-Encoding: chunked\r\n"),
        ({"length": 5, "changed": True}, Framing.CHUNKED, b"Transfer-Encoding: chunked\r\n"),
        ({"chunked": True, "http10": True}, Framing.CLOSE, b""),
        ({"length": 5, "http10": True}, Framing.LENGTH, b"Content-Length: 5\r\n"),
        ({"length": 5, "changed": True, "http10": True}, Framing.CLOSE, b""),
        ({"length": 5, "method": "HEAD"}, Framing.NONE, b"Content-Length: 5\r\n"),
        ({"length": 5, "status": 304}, Framing.NONE, b"Content-Length: 5\r\n"),
        ({"length": 5, "status": 204}, Framing.NONE, b""),
        ({"chunked": True, "method": "HEAD"}, Framing.NONE, b""),
    ],
)
def test_an_answer_is_framed_so_that_its_client_sees_its_end(
    known: dict[str, object], framing: Framing, lines: bytes
) -> None:
    """The client can tell a whole body from a cut one wherever its protocol allows (RFC 9112, section 6)."""
    assert framing_of(answer(**known)) is framing
    assert answer_lines(answer(**known), framing) == lines


def test_some_answers_never_have_a_body() -> None:
    """HEAD, 204, 304 and 1xx end with their head."""
    assert bodiless("HEAD", 200)
    assert all(bodiless("GET", status) for status in (100, 103, 204, 304))
    assert not any(bodiless("GET", status) for status in (200, 404, 500))


def test_a_request_keeps_its_framing() -> None:
    """A length stays a length, chunks stay chunks, and no body stays none."""
    assert request_lines(7, chunked=False) == b"Content-Length: 7\r\n"
    assert request_lines(0, chunked=False) == b"Content-Length: 0\r\n"
    assert request_lines(None, chunked=True) == b"Transfer-Encoding: chunked\r\n"
    assert request_lines(None, chunked=False) == b""


@given(st.lists(st.binary(max_size=40) | st.just(b"x" * 20_000), max_size=8))
def test_chunks_say_what_they_hold(parts: list[bytes]) -> None:
    """Reading the chunks back gives the body; an empty part never ends it early."""
    wire = b"".join(piece for part in parts for piece in chunk(part)) + LAST_CHUNK
    body = b""
    while size := int(wire.partition(b"\r\n")[0], 16):
        start = wire.index(b"\r\n") + 2
        body += wire[start : start + size]
        assert wire[start + size : start + size + 2] == b"\r\n"
        wire = wire[start + size + 2 :]
    assert body == b"".join(parts)
    assert wire == LAST_CHUNK
