"""One answer on its way: to the client first, then to the observer."""

from typing import Any, cast

import pytest

from joulegate.gateway.exchange.answer import PART, UNHEARD, Answer
from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.heads import ResponseHead, request_head, response_head
from joulegate.gateway.spans.observation import Observation, SilentObserver
from joulegate.gateway.spans.request_span import Identity, RequestSpan
from joulegate.model import SpanId
from joulegate.ports import Headers, Route
from joulegate.units import Nanoseconds

T = Nanoseconds(0)
CHUNKED = response_head(b"HTTP/1.1 200 R\r\nTransfer-Encoding: chunked")
GZIP = response_head(b"HTTP/1.1 200 R\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip")
FAILED = response_head(b"HTTP/1.1 500 R\r\nTransfer-Encoding: chunked")
SHORT = response_head(b"HTTP/1.1 200 R\r\nContent-Length: 5")
REFUSED = response_head(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7")


class Scene(SilentObserver):
    """Writes down in which order the client and the observer get what."""

    def __init__(self, *, http10: bool = False, extra: bytes = b"") -> None:
        self.order: list[tuple[str, bytes | int]] = []
        self.wire: list[bytes] = []
        self.ended = ""
        route = Route("r")
        observation = Observation(self, "p", route, print)
        span = RequestSpan(
            self, Identity(id=SpanId("1"), upstream="u", protocol="p", route=route), observation
        )
        request = request_head(b"GET / HTTP/1.0" if http10 else b"GET / HTTP/1.1\r\nHost: a")
        self.answer = Answer(cast(ClientConnection, self), request, span, extra)

    def begin(self, head: ResponseHead = CHUNKED, *, keep_alive: bool = True) -> None:
        self.answer.begin(head, keep_alive=keep_alive)

    def body(self, content: bytes, wire: bytes | None = None) -> None:
        self.answer.answer_body(T, content, wire)

    def emit(self, event: object) -> None: ...

    def sent(self) -> list[bytes | int]:
        """The parts that the client got."""
        return [part for who, part in self.order if who == "client"]

    # --- the client ------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.wire.append(data)
        self.order.append(("client", data.rpartition(b"\r\n\r\n")[2] or b"head"))

    def send_all(self, pieces: list[bytes]) -> None:
        self.send(b"".join(pieces))

    def end(self) -> None:
        self.ended = "end"

    def abort(self) -> None:
        self.ended = "reset"

    # --- the observer ----------------------------------------------------------------------------------

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
    scene.body(b"ab")
    assert scene.order == [("client", b"2\r\nab\r\n"), ("observer", 200), ("observer", b"ab")]


def test_later_parts_are_heard_together() -> None:
    """They pass at once; the observer hears them when somebody looks, in their order, and once."""
    scene = Scene()
    scene.begin()
    for part in (b"ab", b"cd", b"ef"):
        scene.body(part)
    assert scene.order[3:] == [("client", b"2\r\ncd\r\n"), ("client", b"2\r\nef\r\n")]
    scene.answer.listen()
    scene.answer.listen()
    assert scene.order[5:] == [("observer", b"cd"), ("observer", b"ef")]


@pytest.mark.parametrize("size", [1, 100, UNHEARD, 1_000_000])
def test_what_waits_for_the_observer_is_bounded(size: int) -> None:
    """Nobody has to look for that: neither many small parts nor large ones fill the memory."""
    scene = Scene()
    scene.begin()
    waiting = most = 0
    for _ in range(2 * UNHEARD // PART):
        scene.body(b"x" * size)
        heard = sum(part == b"x" * size for who, part in scene.order if who == "observer")
        waiting = len(scene.sent()) - heard
        most = max(most, waiting)
    assert most * (size + PART) < UNHEARD
    assert most > 0 or size + PART >= UNHEARD


def test_parts_before_the_first_content_are_heard_as_they_come() -> None:
    """The first byte is told when it is there."""

    class Comments(Scene):
        def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
            super().response_body(t, chunk)
            return 0

    scene = Comments()
    scene.begin()
    for _ in range(3):
        scene.body(b":")
    assert scene.order.count(("observer", b":")) == 3


def test_a_head_without_a_body_yet_does_not_wait() -> None:
    """The client sees that its request was taken before the first token comes."""
    scene = Scene()
    scene.begin()
    scene.answer.pause()
    assert scene.order == [("client", b"head"), ("observer", 200)]


def test_the_head_leaves_with_the_first_of_the_body() -> None:
    """One system call for the usual small answer."""
    scene = Scene(extra=b"B: 2\r\n")
    scene.begin(response_head(b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2"))
    assert scene.wire == []
    scene.body(b"ok")
    assert scene.wire == [b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\nB: 2\r\n\r\nok"]


def test_an_empty_part_does_not_end_a_chunked_answer() -> None:
    """A filter may take everything out of a part."""
    scene = Scene()
    scene.answer.strip = NoX()
    scene.begin()
    scene.body(b"xx")
    scene.answer.end()
    assert b"".join(scene.wire).partition(b"\r\n\r\n")[2] == b"3\r\nend\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "http10", "ended"),
    [(CHUNKED, False, "end"), (SHORT, False, "end"), (CHUNKED, True, "reset")],
)
def test_a_cut_is_visible_in_every_framing(head: ResponseHead, http10: bool, ended: str) -> None:
    """Where the end of the connection is the end of the answer, only a reset tells the difference."""
    scene = Scene(http10=http10)
    scene.begin(head)
    scene.body(b"abc")
    scene.answer.cut()
    assert scene.ended == ended
    assert not scene.wire[-1].endswith(b"0\r\n\r\n")


def test_nothing_is_written_for_a_client_that_is_gone() -> None:
    """The upstream may finish without its client, and is heard to its end."""
    scene = Scene()
    scene.begin()
    scene.body(b"abc", b"3\r\nabc\r\n")
    written = len(scene.wire)
    scene.answer.leave()
    scene.body(b"abc", b"3\r\nabc\r\n")
    scene.answer.end()
    scene.answer.cut()
    scene.answer.listen()
    assert (len(scene.wire), scene.ended) == (written, "")
    assert scene.order.count(("observer", b"abc")) == 2


@pytest.mark.parametrize(("keep_alive", "http10"), [(False, False), (True, True)])
def test_the_end_of_the_connection_is_announced(keep_alive: bool, http10: bool) -> None:
    """A client is told when its connection will not go on."""
    scene = Scene(http10=http10)
    scene.begin(keep_alive=keep_alive)
    scene.answer.pause()
    assert b"Connection: close\r\n" in scene.wire[0]


def test_an_interim_answer_comes_only_before_the_answer() -> None:
    """A 103 in the middle of a body would be part of it."""
    scene, early = Scene(), response_head(b"HTTP/1.1 103 Early Hints\r\nLink: </a>")
    scene.answer.interim(early)
    assert scene.wire == [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
    scene.begin()
    scene.answer.interim(early)
    assert len(scene.wire) == 1


def test_a_body_that_may_not_be_is_not_written() -> None:
    """An upstream that sends a body with a 204 does not break the next answer."""
    scene = Scene()
    scene.begin(response_head(b"HTTP/1.1 204 No Content"))
    scene.body(b"surplus")
    scene.answer.end()
    assert b"".join(scene.wire).endswith(b"\r\n\r\n")


def test_the_observer_hears_what_the_filter_takes_out() -> None:
    """What the client did not ask for is what the meter asked for."""
    scene = Scene()
    scene.answer.strip = NoX()
    scene.begin()
    scene.body(b"axb")
    scene.answer.end()
    assert b"".join(scene.wire).partition(b"\r\n\r\n")[2].startswith(b"2\r\nab\r\n3\r\nend\r\n")
    assert ("observer", b"axb") in scene.order


@pytest.mark.parametrize("head", [GZIP, FAILED])
def test_what_was_not_asked_for_is_not_filtered(head: ResponseHead) -> None:
    """An error or a compressed answer passes as it is."""
    scene = Scene()
    scene.answer.strip = NoX()
    scene.begin(head)
    scene.body(b"x")
    assert scene.order[0] == ("client", b"1\r\nx\r\n")


def test_chunks_pass_as_they_came_where_nothing_is_filtered() -> None:
    """A chunk is framed anew only where its bytes may change."""
    scene = Scene()
    scene.begin()
    for _ in range(2):
        scene.body(b"ab", b"002\r\nab\r\n")
    scene.answer.strip = NoX()
    scene.body(b"cx", b"002\r\ncx\r\n")
    assert scene.sent() == [b"002\r\nab\r\n", b"002\r\nab\r\n", b"1\r\nc\r\n"]


def test_chunks_in_which_a_filter_finds_nothing_pass_as_they_came() -> None:
    """Nearly every chunk of a filtered stream."""
    scene = Scene()
    scene.answer.strip = Nothing()
    scene.begin()
    for _ in range(2):
        scene.body(b"ab", b"002\r\nab\r\n")
    assert scene.sent() == [b"002\r\nab\r\n"] * 2


def test_nothing_overtakes_the_head_nor_what_waits() -> None:
    """The first chunk takes the head along; a body without chunks gets none."""
    scene = Scene(http10=True)
    scene.begin()
    for _ in range(2):
        scene.body(b"ab", b"002\r\nab\r\n")
    assert scene.sent() == [b"ab", b"ab"]


def test_fields_of_our_name_are_the_gates_own_where_it_speaks() -> None:
    """Answers with the same head share its lines, but not across gates that say who they are and others."""
    head = response_head(b"HTTP/1.1 200 R\r\nJoulegate-X: 1\r\nContent-Length: 0")
    for extra, shown in ((b"", True), (b"Joulegate-Y: 2\r\n", False), (b"", True)):
        scene = Scene(extra=extra)
        scene.begin(head)
        scene.answer.end()
        assert (b"Joulegate-X" in scene.wire[0]) is shown


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ([b"unknown: stream_", b"options"], True),
        ([b"[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra"], True),
        ([b"Failed to deserialize the JSON body into the target type: unknown field `stream_options`"], True),
        ([b"extraneous key [include_usage] is not permitted"], True),
        ([b"bad prompt"], False),
        ([b""], False),
    ],
)
def test_a_refusal_is_read_whole(parts: list[bytes], named: bool) -> None:
    """What it refuses may stand across two parts; nothing of it has been sent."""
    scene = Scene()
    scene.answer.withhold(REFUSED)
    assert all(scene.answer.keep(part) for part in parts)
    assert scene.answer.refuses_usage() is named
    assert scene.wire == []


def test_a_refusal_is_kept_back_only_while_it_is_small() -> None:
    """An endless error is passed on whole."""
    scene = Scene()
    scene.answer.withhold(REFUSED)
    assert scene.answer.keep(b"x" * 65_536)
    assert not scene.answer.keep(b"x")
    head, parts = scene.answer.release()
    assert (head, b"".join(parts)) == (REFUSED, b"x" * 65_537)
    assert not scene.answer.withheld


def test_an_answer_that_was_released_is_forgotten() -> None:
    """What the second attempt brings is not taken for a refusal of the first one's."""
    scene: Any = Scene()
    scene.answer.withhold(REFUSED)
    scene.answer.keep(b"stream_options")
    scene.answer.release()
    assert not scene.answer.refuses_usage()
