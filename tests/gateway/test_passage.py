"""One answer on its way: to the client first, then to the observer."""

from typing import Any, cast

import pytest

from joulegate.gateway.client import ClientConnection
from joulegate.gateway.observation import Observation, Silent
from joulegate.gateway.passage import Passage
from joulegate.gateway.span import Identity, Span
from joulegate.gateway.wish import Wish
from joulegate.model import SpanId
from joulegate.ports import Headers, Route
from joulegate.units import Nanoseconds

T = Nanoseconds(0)
WISH = Wish(method="GET", http10=False, keep_alive=True, upgrade=False, finish=False, extra=b"")


class Message:
    """The head of an answer as the parser gives it."""

    def __init__(self, *headers: tuple[bytes, bytes], code: int = 200) -> None:
        self.code, self.reason, self.chunked, self.raw_headers = code, "R", True, headers


class Scene(Silent):
    """Writes down in which order the client and the observer get what."""

    def __init__(self) -> None:
        self.order: list[tuple[str, bytes | int]] = []
        observation = Observation(self, "p", print)
        span = Span(self, Identity(id=SpanId("1"), upstream="u", protocol="p", route=Route("r")), observation)
        self.passage = Passage(cast(ClientConnection, self), WISH, span, observation)

    def begin(self, message: Message) -> None:
        self.passage.begin(cast(Any, message), keep_alive=True)

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


def test_the_client_is_always_first() -> None:
    """Neither the head nor a part waits for whoever listens."""
    scene = Scene()
    scene.begin(Message())
    assert scene.order == []
    scene.passage.body(T, b"ab")
    assert scene.order == [("client", b"2\r\nab\r\n"), ("observer", 200), ("observer", b"ab")]


def test_a_head_without_a_body_yet_does_not_wait() -> None:
    """The client sees that its request was taken before the first token comes."""
    scene = Scene()
    scene.begin(Message())
    scene.passage.pause()
    assert scene.order == [("client", b"head"), ("observer", 200)]


def test_the_observer_hears_what_the_filter_takes_out() -> None:
    """What the client did not ask for is what the meter asked for."""
    scene = Scene()
    scene.passage.strip = NoX()
    scene.begin(Message())
    scene.passage.body(T, b"axb")
    scene.passage.end()
    wire = b"".join(part for who, part in scene.order if who == "client" and isinstance(part, bytes))
    assert wire.startswith(b"2\r\nab\r\n3\r\nend\r\n")
    assert ("observer", b"axb") in scene.order


@pytest.mark.parametrize("message", [Message((b"Content-Encoding", b"gzip")), Message(code=500)])
def test_what_was_not_asked_for_is_not_filtered(message: Message) -> None:
    """An error or a compressed answer passes as it is."""
    scene = Scene()
    scene.passage.strip = NoX()
    scene.begin(message)
    scene.passage.body(T, b"x")
    assert scene.order[0] == ("client", b"1\r\nx\r\n")
