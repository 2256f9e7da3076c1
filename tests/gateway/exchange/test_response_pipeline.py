"""One answer on its way: to the client first, then to the observer."""

from typing import cast

import pytest
from msgspec.structs import replace

from joulegate.gateway.exchange.answer_context import AnswerContext
from joulegate.gateway.exchange.observation import Observation, SilentObserver
from joulegate.gateway.exchange.request_span import Identity, RequestSpan
from joulegate.gateway.exchange.response_pipeline import ResponsePipeline
from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.heads import ResponseHead, response_head
from joulegate.model import SpanId
from joulegate.ports import Headers, Route
from joulegate.units import Nanoseconds

T = Nanoseconds(0)
WISH = AnswerContext(method="GET", http10=False, keep_alive=True, upgrade=False, finish=False, extra=b"")


CHUNKED = response_head(b"HTTP/1.1 200 R\r\nTransfer-Encoding: chunked")
GZIP = response_head(b"HTTP/1.1 200 R\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip")
FAILED = response_head(b"HTTP/1.1 500 R\r\nTransfer-Encoding: chunked")


class Scene(SilentObserver):
    """Writes down in which order the client and the observer get what."""

    def __init__(self) -> None:
        self.order: list[tuple[str, bytes | int]] = []
        observation = Observation(self, "p", print)
        span = RequestSpan(
            self, Identity(id=SpanId("1"), upstream="u", protocol="p", route=Route("r")), observation
        )
        self.passage = ResponsePipeline(cast(ClientConnection, self), WISH, span, observation)

    def begin(self, head: ResponseHead = CHUNKED) -> None:
        self.passage.begin(head, keep_alive=True)

    def emit(self, event: object) -> None: ...

    def send(self, data: bytes) -> None:
        self.order.append(("client", data.rpartition(b"\r\n\r\n")[2] or b"head"))

    def send_all(self, pieces: list[bytes]) -> None:
        self.send(b"".join(pieces))

    def response_head(self, status: int, headers: Headers) -> None:
        self.order.append(("observer", status))

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        self.order.append(("observer", chunk))
        return 1


class NoX:
    """A filter that takes every x out."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.replace(b"x", b"")

    def finish(self) -> bytes:
        return b"end"


class Nothing(NoX):
    """A filter that finds nothing to take out."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk


def test_the_client_is_always_first() -> None:
    """Neither the head nor a part waits for whoever listens."""
    scene = Scene()
    scene.begin()
    assert scene.order == []
    scene.passage.body(T, b"ab")
    assert scene.order == [("client", b"2\r\nab\r\n"), ("observer", 200), ("observer", b"ab")]


def test_a_head_without_a_body_yet_does_not_wait() -> None:
    """The client sees that its request was taken before the first token comes."""
    scene = Scene()
    scene.begin()
    scene.passage.pause()
    assert scene.order == [("client", b"head"), ("observer", 200)]


def test_the_observer_hears_what_the_filter_takes_out() -> None:
    """What the client did not ask for is what the meter asked for."""
    scene = Scene()
    scene.passage.strip = NoX()
    scene.begin()
    scene.passage.body(T, b"axb")
    scene.passage.end()
    wire = b"".join(part for who, part in scene.order if who == "client" and isinstance(part, bytes))
    assert wire.startswith(b"2\r\nab\r\n3\r\nend\r\n")
    assert ("observer", b"axb") in scene.order


@pytest.mark.parametrize("head", [GZIP, FAILED])
def test_what_was_not_asked_for_is_not_filtered(head: ResponseHead) -> None:
    """An error or a compressed answer passes as it is."""
    scene = Scene()
    scene.passage.strip = NoX()
    scene.begin(head)
    scene.passage.body(T, b"x")
    assert scene.order[0] == ("client", b"1\r\nx\r\n")


def test_chunks_pass_as_they_came_where_nothing_is_filtered() -> None:
    """A chunk is framed anew only where its bytes may change."""
    scene = Scene()
    scene.begin()
    scene.passage.body(T, b"ab", b"002\r\nab\r\n")
    scene.passage.strip = NoX()
    scene.passage.body(T, b"cx", b"002\r\ncx\r\n")
    sent = [part for who, part in scene.order if who == "client"]
    assert sent == [b"002\r\nab\r\n", b"1\r\nc\r\n"]


def test_fields_of_our_name_are_the_gates_own_where_it_speaks() -> None:
    """Answers with the same head share its lines, but not across gates that say who they are and others."""
    head = response_head(b"HTTP/1.1 200 R\r\nJoulegate-X: 1\r\nContent-Length: 0")
    for extra, shown in ((b"", True), (b"Joulegate-Y: 2\r\n", False), (b"", True)):
        scene = Scene()
        scene.passage._wish = replace(WISH, extra=extra)
        scene.begin(head)
        assert (b"Joulegate-X" in scene.passage.writer._held) is shown


def test_chunks_in_which_a_filter_finds_nothing_pass_as_they_came() -> None:
    """Nearly every chunk of a filtered stream."""
    scene = Scene()
    scene.passage.strip = Nothing()
    scene.begin()
    for _ in range(2):
        scene.passage.body(T, b"ab", b"002\r\nab\r\n")
    assert [part for who, part in scene.order if who == "client"] == [b"002\r\nab\r\n"] * 2


def test_nothing_overtakes_the_head_nor_what_waits() -> None:
    """The first chunk takes the head along; a body without chunks gets none."""
    scene = Scene()
    scene.passage._wish = replace(WISH, http10=True)
    scene.begin()
    for _ in range(2):
        scene.passage.body(T, b"ab", b"002\r\nab\r\n")
    assert [part for who, part in scene.order if who == "client"] == [b"ab", b"ab"]
