"""What clients may do to the gate."""

import asyncio
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.gateway.http.body import BodyTerms, RequestBody
from joulegate.gateway.http.client_connection import ClientConnection, ClientServer
from joulegate.gateway.http.heads import LARGEST_HEAD, RequestHead
from joulegate.gateway.http.timers import Hangups, Watchdog
from joulegate.testing.upstream import Peer, echo
from joulegate.units import NANO, Nanoseconds


async def test_requests_in_a_row_are_answered_in_their_order(start: Any, serve: Any) -> None:
    """A client may send the next requests before the first is answered (RFC 9112, section 9.3.2)."""
    bench = await start(await serve(echo))
    client = await bench.client()
    requests = [
        f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{number:02}" for number in range(50)
    ]
    await client.send("".join(requests).encode())
    assert [(await client.answer())[2] for _ in requests] == [b"%02d" % number for number in range(50)]


async def test_a_head_that_comes_byte_by_byte_is_given_up(start: Any, serve: Any, timeouts: Any) -> None:
    """A slow client does not hold a connection for ever, on its first request or a later one."""
    upstream = await serve(echo)
    bench = await start(upstream, timeouts=timeouts(head=0.2))
    slow, later = await bench.client(), await bench.client()
    await later.ask("/x", body=b"1")
    assert (await later.answer())[0] == 200
    for client in (slow, later):
        await client.send(b"G")
        await asyncio.wait({asyncio.ensure_future(client.reader.read(0))}, timeout=0.05)
        await client.send(b"ET / HTTP/1.1\r\nHo")
        assert (await client.head())[0] == 408
        await client.closed()
    assert len(upstream.requests) == 1
    assert bench.gate.report().refused == (("head_timeout", 2),)


async def test_an_idle_connection_is_left_in_peace(start: Any, serve: Any, timeouts: Any) -> None:
    """Between requests a client may think longer than it may take over a head."""
    bench = await start(await serve(echo), timeouts=timeouts(head=0.05))
    client = await bench.client()
    for _ in range(2):
        await client.ask("/x", body=b"1")
        assert (await client.answer())[0] == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.2)


async def test_a_head_without_end_is_refused(start: Any, serve: Any) -> None:
    """Nobody fills our memory with a head."""
    upstream = await serve(echo)
    bench = await start(upstream)
    client = await bench.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    for _ in range(LARGEST_HEAD // 10_000 + 2):
        client.writer.write(b"A: " + b"x" * 10_000 + b"\r\n")
        await asyncio.sleep(0)
    assert (await client.head())[0] == 431
    assert upstream.peers == []


async def test_one_huge_field_is_refused(start: Any, serve: Any) -> None:
    """A field of 100 KiB is no field."""
    bench = await start(await serve(echo))
    client = await bench.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 100_000 + b"\r\n\r\n")
    status, _, body = await client.answer()
    assert status == 400
    assert b"xxx" not in body, "what a client sent is not repeated"


async def test_an_old_client_gets_an_end_that_it_understands(start: Any, serve: Any) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the answer."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        assert request.line.endswith(b"HTTP/1.1")
        assert len(request.all(b"host")) == 1
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.chunks(b"ab", b"cd")

    bench = await start(await serve(script))
    client = await bench.client()
    await client.send(b"GET /x HTTP/1.0\r\n\r\n")
    status, fields = await client.head()
    assert (status, fields["connection"], "transfer-encoding" in fields) == (200, "close", False)
    assert await client.closed() == b"abcd"


async def test_a_client_that_asks_to_close_is_closed(start: Any, serve: Any) -> None:
    """``Connection: close`` is obeyed and said."""
    bench = await start(await serve(echo))
    client = await bench.client()
    await client.ask("/x", body=b"1", fields=b"Connection: close\r\n")
    _, fields, body = await client.answer()
    assert (fields["connection"], body) == ("close", b"1")
    assert await client.closed() == b""


async def test_idle_and_broken_clients_cost_nothing_else(start: Any, serve: Any) -> None:
    """Many bad connections leave the good one alone."""
    bench = await start(await serve(echo))
    clients = [await bench.client() for _ in range(100)]
    for number, client in enumerate(clients):
        await client.send(
            [b"", b"GET", b"\x00\x00\r\n\r\n", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"][
                number % 4
            ]
        )
        if number % 2:
            client.reset()
    good = await bench.client()
    await good.ask("/x", body=b"1")
    assert (await good.answer())[2] == b"1"


WIRE = (
    b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n"
    b"0\r\nT: 1\r\n\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n"
)
"""Three requests with empty lines before two of them."""


class Pipe(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.state = "open"
        self.reading = True

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.state in {"closed", "aborted"}

    def write_eof(self) -> None:
        self.state = "half-closed"

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Scene:
    """A client connection with a clock, and a handler that notes each request and answers when told."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.now = 0
        self.requests: list[tuple[str, bytes | None]] = []
        self.refused: list[str] = []
        self.at_once = at_once
        loop = asyncio.get_running_loop()
        self.hangups = Hangups(loop)
        self.server = ClientServer(
            self.handle,
            clock=self.clock,
            malformed=self.refused.append,
            head_patience=Nanoseconds(10 * NANO),
            keep_alive=Nanoseconds(75 * NANO),
            body_terms=BodyTerms(Nanoseconds(NANO), self.clock, Watchdog(loop, self.clock, Nanoseconds(1))),
            hangups=self.hangups,
        )
        self.pipe = Pipe()
        self.client = self.server()
        self.client.connection_made(self.pipe)

    def clock(self) -> Nanoseconds:
        return Nanoseconds(self.now)

    def handle(
        self, _: ClientConnection, head: RequestHead, arrived: Nanoseconds, body: bytes | RequestBody
    ) -> None:
        if not isinstance(body, bytes):
            body.collect(partial(self.collected, head, body))
        else:
            self.note(head, body)

    def collected(self, head: RequestHead, body: RequestBody) -> None:
        self.note(head, body.whole() if body.ended else None)

    def note(self, head: RequestHead, body: bytes | None) -> None:
        self.requests.append((head.target, body))
        if self.at_once:
            self.client.answered(keep_alive=body is not None)

    async def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.client.data_received(piece)
        for _ in range(8):
            await asyncio.sleep(0)

    def later(self, seconds: float) -> None:
        self.now += int(seconds * NANO)
        self.server.check(Nanoseconds(self.now))


EXPECTED = [("/a", b"hello"), ("/b", b"hello"), ("/c", b"")]


async def test_requests_are_the_same_wherever_they_are_cut() -> None:
    """Every place in three requests may be the end of a read."""
    for cut in range(len(WIRE) + 1):
        scene = Scene()
        await scene.feed(*[piece for piece in (WIRE[:cut], WIRE[cut:]) if piece])
        assert (scene.requests, scene.refused) == (EXPECTED, []), cut
        scene.hangups.close()


@given(st.lists(st.integers(0, len(WIRE)), max_size=12), st.booleans())
@settings(max_examples=60)
async def test_requests_are_the_same_however_they_are_cut(cuts: list[int], at_once: bool) -> None:
    """Also in many pieces, and also if the answers take their time."""
    places = [0, *sorted(cuts), len(WIRE)]
    scene = Scene(at_once=at_once)
    await scene.feed(*[WIRE[a:b] for a, b in pairwise(places) if b > a])
    while not at_once and len(scene.requests) < len(EXPECTED):
        scene.client.answered(keep_alive=True)
        await scene.feed()
    assert scene.requests == EXPECTED
    scene.hangups.close()


async def test_byte_by_byte() -> None:
    """The slowest client is understood, if it is in time."""
    scene = Scene()
    await scene.feed(*[WIRE[at : at + 1] for at in range(len(WIRE))])
    assert scene.requests == EXPECTED
    assert scene.server.waiting == set()
    scene.hangups.close()


async def test_a_later_request_waits_for_the_answer_before_it() -> None:
    """One at a time, in their order; a client that goes on and on is not read any more."""
    scene = Scene(at_once=False)
    one = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    await scene.feed(one, one)
    assert len(scene.requests) == 1
    while scene.pipe.reading:
        await scene.feed(one * 100)
        assert len(scene.client._ahead) < 128 * 1024
    while not scene.pipe.reading:
        before = len(scene.requests)
        scene.client.answered(keep_alive=True)
        await scene.feed()
        assert len(scene.requests) == before + 1
    assert len(scene.client._ahead) <= 64 * 1024
    scene.hangups.close()


async def test_what_follows_a_fault_is_no_request() -> None:
    """A client that sent what is no HTTP is heard out and not listened to (RFC 9112, section 2.2)."""
    scene = Scene()
    await scene.feed(b"GET / HTTP/1.1\r\n\r\n", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (scene.requests, scene.refused, scene.pipe.state) == ([], ["malformed"], "half-closed")
    scene.later(1.9)
    assert scene.pipe.state == "half-closed"
    scene.later(0.2)
    assert scene.pipe.state == "aborted"
    scene.hangups.close()


@pytest.mark.parametrize(
    "begun", [b"\x16\x03\x01", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nA: \x00", b"GET / HTTP/1.1\rX"]
)
async def test_a_hopeless_beginning_is_not_waited_for(begun: bytes) -> None:
    """Somebody who speaks TLS, or ends lines with LF alone, is told at once."""
    scene = Scene()
    await scene.feed(*[begun[at : at + 1] for at in range(len(begun))])
    assert scene.refused == ["malformed"]
    assert scene.pipe.sent.startswith(b"HTTP/1.1 400 ")
    scene.hangups.close()


async def test_a_body_that_is_not_whole_costs_the_connection() -> None:
    """After an answer that came before the body's end, nothing of the body is taken for a request."""
    scene = Scene(at_once=False)
    await scene.feed(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
    scene.client.answered(keep_alive=True)
    await scene.feed(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (scene.requests, scene.pipe.state) == ([], "half-closed")
    scene.hangups.close()


async def test_an_idle_connection_ends_after_a_while() -> None:
    """Also one on which nothing was ever said; an empty line is no request."""
    for said in (b"", b"\r\n", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"):
        scene = Scene()
        await scene.feed(*[said] if said else [])
        scene.later(74)
        assert scene.pipe.state == "open"
        scene.later(6)
        assert scene.pipe.state == "closed"
        scene.later(80)
        assert scene.pipe.state == "aborted", "it does not take what was written either"
        scene.hangups.close()


async def test_connections_that_are_gone_are_forgotten(start: Any, serve: Any, soon: Any) -> None:
    """Whoever leaves, in whatever state, leaves nothing behind."""
    bench = await start(await serve(echo))
    for sent in (b"", b"GET", b"\x00", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"):
        client = await bench.client()
        await client.send(sent)
        client.close()
    async with soon():
        while bench.connections():
            await asyncio.sleep(0)
    assert bench.gate._server.waiting == set()


async def test_a_shutdown_does_not_wait_for_those_that_take_nothing(start: Any, serve: Any) -> None:
    """A client that does not read its answer is reset after the time that it has for it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"x" * 2**24)
        await peer.left()

    bench = await start(await serve(script))
    client, idle = await bench.client(buffer=4096), await bench.client()
    await client.ask(body=b"{}")
    await client.head()
    await bench.gate._server.shutdown(0.05)
    assert await idle.closed() == b""
    await bench.events.closed()
    assert bench.connections() == 0
