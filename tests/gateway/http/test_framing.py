"""How a message ends on the other side."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.gateway.http.framing import (
    LAST_CHUNK,
    AnswerFraming,
    Chunks,
    Framing,
    MalformedBody,
    answer_lines,
    bodiless,
    chunk,
    framing_of,
    request_lines,
)


def answer(**known: object) -> AnswerFraming:
    return AnswerFraming(
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


CHUNKED = b'3\r\nabc\r\n5;a=b;c="d;\\""\r\nde\r\nf\r\n00A\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\nnext'
CONTENT = b"abcde\r\nf0123456789"


def read(pieces: list[bytes]) -> tuple[bytes, bool, bytes]:
    """Give the content of a chunked body that comes in pieces, whether it ended, and what is behind it."""
    chunks, content = Chunks(), b""
    for number, piece in enumerate(pieces):
        content += chunks.feed(piece)
        if chunks.ended:
            return content, True, chunks.rest + b"".join(pieces[number + 1 :])
    return content, False, b""


@given(st.lists(st.integers(0, len(CHUNKED)), max_size=6))
def test_chunks_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    """Extensions and trailers go, content stays, and nothing behind the end is taken."""
    places = [0, *sorted(cuts), len(CHUNKED)]
    pieces = [CHUNKED[start:end] for start, end in pairwise(places)]
    assert read([piece for piece in pieces if piece]) == (CONTENT, True, b"next")


def test_chunks_byte_by_byte() -> None:
    """Also the slowest sender is understood."""
    assert read([CHUNKED[at : at + 1] for at in range(len(CHUNKED))]) == (CONTENT, True, b"next")


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 500), max_size=4))
def test_what_is_written_in_chunks_is_read_from_them(parts: list[bytes], cuts: list[int]) -> None:
    """The two sides of the gate agree on what a chunk is."""
    wire = b"".join(piece for part in parts for piece in chunk(part)) + LAST_CHUNK
    places = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    pieces = [wire[start:end] for start, end in pairwise(places) if end > start]
    assert read(pieces) == (b"".join(parts), True, b"")


NO_CHUNKS = [
    b"\r\n", b"x\r\n", b"-1\r\na\r\n", b"+1\r\na\r\n", b"0x1\r\na\r\n", b" 1\r\na\r\n", b"1 \r\na\r\n",
    b"1_0\r\n", b"1\na\r\n", b"1\r\na\n", b"1\r\na\r\r\n", b"1\r\nab\r\n", b"1\r\na0\r\n\r\n",
    b"1;\r\na\r\n", b"1;a b\r\na\r\n", b"1;a=\"\r\na\r\n", b"1;a\nb\r\na\r\n", b"1 ;a\r\na\r\n",
    b"8000000000000000\r\n", b"00000000000000001\r\na\r\n", b"1\r\na\r\n0\r\nbad trailer\r\n\r\n",
    b"0\r\n X: y\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\r\nX: \x00\r\n\r\n", b"0\r\nX: y\n\r\n\r\n",
    b"0\n\r\n", b"\xd9\xa3\r\nabc\r\n", b"1;" + b"a" * 5000 + b"\r\n", b"1" * 5000,
    b"0\r\n" + b"X: y\r\n" * 4000 + b"\r\n", b"0\r\nX: " + b"y" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("wire", NO_CHUNKS)
@pytest.mark.parametrize("size", [1, 3, 100_000])
def test_a_chunk_that_two_servers_could_read_differently_is_none(wire: bytes, size: int) -> None:
    """Whatever the pieces, it is refused, and never taken for the end of a body."""
    with pytest.raises(MalformedBody):
        read([wire[at : at + size] for at in range(0, len(wire), size)])


@pytest.mark.parametrize(
    ("before", "wire", "plain"),
    [
        (b"", b"1\r\na\r\n", True),
        (b"", b"1\r\na\r\n02\r\nbc\r\n", True),
        (b"1\r\na\r\n", b"1\r\na\r\n", True),
        (b"", b"1;x\r\na\r\n", False),
        (b"", b"1\r\na\r\n1;x=y\r\na\r\n", False),
        (b"", b"2\r\na", False),
        (b"2\r\na", b"b\r\n", False),
        (b"2\r\nab", b"\r\n1\r\nc\r\n", False),
        (b"", b"1\r\na\r\n0", False),
        (b"", b"1\r\na\r\n0\r\nX: y\r\n\r\n", False),
        (b"", b"1\r\na\r\n0\r\n\r\nmore", False),
    ],
)
def test_only_whole_chunks_can_go_on_as_they_came(before: bytes, wire: bytes, plain: bool) -> None:
    """What ends with this hop, and half of anything, is written anew."""
    chunks = Chunks()
    if before:
        chunks.feed(before)
    chunks.feed(wire)
    assert chunks.plain is plain


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"2\r\nab\r\n", b"ab"),
        (b"A\r\n0123456789\r\n", b"0123456789"),
        (b"a\r\n0123456789\r\n", b"0123456789"),
        (b"02\r\nab\r\n", b""),
        (b"0x2\r\nab\r\n", b""),
        (b"2;x\r\nab\r\n", b""),
        (b"2\r\nabc\r\n", b""),
        (b"2\r\nabcd", b""),
        (b"0\r\n\r\n", b""),
        (b"1\r\na\r\n1\r\nb\r\n", b""),
        (b"ab", b""),
        (b"", b""),
    ],
)
def test_one_chunk_that_comes_alone_is_read_at_once(data: bytes, content: bytes) -> None:
    """What is in any way unusual is left to the whole grammar."""
    assert Chunks().alone(data) == content


@pytest.mark.parametrize("before", [b"5\r\nab", b"1", b"0\r\n"])
def test_inside_of_a_chunk_nothing_is_one(before: bytes) -> None:
    """The content of a chunk may look like one."""
    chunks = Chunks()
    chunks.feed(before)
    assert chunks.alone(b"2\r\nab\r\n") == b""


def test_the_beginning_of_the_last_chunk_does_not_pass_as_it_came() -> None:
    """A piece that ends within the last chunk is not whole chunks: the gate writes an end of its own."""
    for cut in range(len(LAST_CHUNK)):
        chunks = Chunks()
        assert chunks.feed(b"5\r\nhello\r\n" + LAST_CHUNK[:cut]) == b"hello"
        assert chunks.plain == (cut == 0)
