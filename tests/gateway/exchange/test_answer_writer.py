"""The answer on its way to the client."""

from typing import Any, cast

import pytest

from joulegate.gateway.exchange.answer_writer import AnswerWriter
from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.framing import AnswerFraming, answer_lines, framing_of


class Wire:
    """Takes what a client connection would be sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ended = ""

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def send_all(self, pieces: list[bytes]) -> None:
        self.sent.append(b"".join(pieces))

    def end(self) -> None:
        self.ended = "end"

    def abort(self) -> None:
        self.ended = "reset"


def begun(wire: Wire, *, close: bool = False, **known: Any) -> AnswerWriter:
    writer = AnswerWriter(cast(ClientConnection, wire))
    answer = AnswerFraming(
        **({"method": "GET", "status": 200, "http10": False, "length": None, "chunked": True} | known)
    )
    framing = framing_of(answer)
    lines = b"HTTP/1.1 200 OK\r\nA: 1\r\n" + answer_lines(answer, framing)
    writer.begin(answer.status, framing, lines, extra=b"B: 2\r\n", close=close)
    return writer


def test_the_head_leaves_with_the_first_of_the_body() -> None:
    """One system call for the usual small answer, and none is held back when nothing follows."""
    wire = Wire()
    writer = begun(wire, length=2, chunked=False)
    assert wire.sent == []
    writer.write(b"ok")
    assert wire.sent == [b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\nB: 2\r\n\r\nok"]
    alone = Wire()
    begun(alone).flush()
    assert alone.sent == [b"HTTP/1.1 200 OK\r\nA: 1\r\nTransfer-Encoding: chunked\r\nB: 2\r\n\r\n"]


def test_an_empty_part_does_not_end_a_chunked_answer() -> None:
    """A filter may take everything out of a part."""
    wire = Wire()
    writer = begun(wire)
    writer.write(b"")
    writer.write(b"x")
    writer.end()
    assert b"".join(wire.sent).partition(b"\r\n\r\n")[2] == b"1\r\nx\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("known", "ended"),
    [({}, "end"), ({"length": 5, "chunked": False}, "end"), ({"http10": True}, "reset")],
)
def test_a_cut_is_visible_in_every_framing(known: dict[str, Any], ended: str) -> None:
    """Where the end of the connection is the end of the answer, only a reset tells the difference."""
    wire = Wire()
    writer = begun(wire, **known)
    writer.write(b"abc")
    writer.cut()
    assert wire.ended == ended
    assert not wire.sent[-1].endswith(b"0\r\n\r\n")


def test_nothing_is_written_for_a_client_that_is_gone() -> None:
    """The upstream may finish without its client."""
    wire = Wire()
    writer = begun(wire)
    writer.leave()
    writer.write(b"abc")
    writer.end()
    writer.cut()
    assert (wire.sent, wire.ended) == ([], "")


def test_the_end_of_the_connection_is_announced() -> None:
    """A client is told when its connection will not go on."""
    closing, old = Wire(), Wire()
    begun(closing, close=True).flush()
    begun(old, http10=True).flush()
    assert b"Connection: close\r\n" in closing.sent[0]
    assert b"Connection: close\r\n" in old.sent[0]


def test_an_interim_answer_comes_only_before_the_answer() -> None:
    """A 103 in the middle of a body would be part of it."""
    wire = Wire()
    writer = AnswerWriter(cast(ClientConnection, wire))
    writer.interim(b"103")
    assert wire.sent == [b"103"]
    writer = begun(wire)
    writer.interim(b"103 again")
    assert wire.sent == [b"103"]


def test_a_body_that_may_not_be_is_not_written() -> None:
    """An upstream that sends a body with a 204 does not break the next answer."""
    wire = Wire()
    writer = begun(wire, status=204)
    writer.write(b"surplus")
    writer.end()
    assert b"".join(wire.sent).endswith(b"\r\n\r\n")
