"""Websockets: bytes pass as they are."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web

from joulegate.model import Outcome, SpanClosed, SpanOpened
from joulegate.testing.upstream import Peer, echo

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\n"


async def test_bytes_pass_both_ways_as_they_are(start: Any, serve: Any) -> None:
    """Whatever follows the 101 is neither read nor changed, also what came with a head."""

    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        assert b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in head
        await peer.send(SWITCH + b"\x00early\xff")
        while data := await peer.read():
            await peer.send(data[::-1])

    bench = await start(await serve(script))
    client = await bench.client()
    await client.send(UPGRADE + b"first")
    status, fields = await client.head()
    assert (status, fields["upgrade"], fields["connection"], fields["x-a"]) == (
        101,
        "websocket",
        "Upgrade",
        "1",
    )
    assert await client.reader.readexactly(7 + 5) == b"\x00early\xfftsrif"
    payload = bytes(range(256)) * 1000
    client.writer.write(payload)
    received = await client.reader.readexactly(len(payload))
    assert sorted(received) == sorted(payload)
    client.close()
    closed = await bench.events.closed()
    assert (closed.outcome, closed.status) == (Outcome.OK, 101)


async def test_each_end_may_close_its_half(start: Any, serve: Any) -> None:
    """The end of one direction is passed on and leaves the other one open."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH)
        while data := await peer.read():
            assert data == b"question"
        await peer.send(b"answer after the question's end")

    bench = await start(await serve(script))
    client = await bench.client()
    await client.send(UPGRADE)
    await client.head()
    await client.send(b"question")
    client.writer.write_eof()
    assert await client.closed() == b"answer after the question's end"
    assert (await bench.events.closed()).outcome is Outcome.OK
    assert len(bench.events.of(SpanOpened)) == len(bench.events.of(SpanClosed)) == 1


@pytest.mark.parametrize(
    ("who", "outcome"), [("client", Outcome.CANCELLED), ("upstream", Outcome.UPSTREAM_RESET)]
)
async def test_a_reset_is_passed_on(start: Any, serve: Any, soon: Any, who: str, outcome: Outcome) -> None:
    """A broken end breaks the other one and is told as what it is."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH)
        await go.wait()
        peer.reset() if who == "upstream" else await peer.left()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.send(UPGRADE)
    await client.head()
    go.set()
    if who == "client":
        client.reset()
        async with soon():
            await upstream.peers[0].gone.wait()
    else:
        await client.closed()
    assert (await bench.events.closed()).outcome is outcome
    async with soon():
        while bench.connections():
            await asyncio.sleep(0)


async def test_a_refused_upgrade_is_an_answer_like_any_other(start: Any, serve: Any) -> None:
    """The client hears why, and its connection goes on."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"no", status="403 Forbidden")
        await peer.left()

    bench = await start(await serve(script))
    client = await bench.client()
    for _ in range(2):
        await client.send(UPGRADE)
        assert (await client.answer())[::2] == (403, b"no")


async def test_an_upgrade_with_a_body_is_an_ordinary_request(start: Any, serve: Any) -> None:
    """Bytes of a body can never be taken for the new protocol's (CVE-2026-69243)."""
    upstream = await serve(echo)
    bench = await start(upstream)
    client = await bench.client()
    await client.send(UPGRADE[:-2] + b"Content-Length: 4\r\n\r\nbody")
    assert (await client.answer())[2] == b"body"
    assert upstream.requests[0].all(b"upgrade") == []


async def test_other_protocols_are_not_switched_to(start: Any, serve: Any) -> None:
    """h2c is not passed on: the upstream answers in HTTP/1.1."""
    upstream = await serve(echo)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask("/x", method="GET", fields=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n")
    assert (await client.answer())[0] == 200
    assert upstream.requests[0].all(b"upgrade") == []


async def test_a_drain_ends_tunnels(start: Any, serve: Any) -> None:
    """A websocket that outlives the grace is cut and told of."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH)
        await peer.left()

    bench = await start(await serve(script))
    client = await bench.client()
    await client.send(UPGRADE)
    await client.head()
    await bench.gate.drain(0)
    assert await client.closed() == b""
    assert (await bench.events.closed()).outcome is Outcome.ORPHANED


async def test_a_real_websocket_keeps_its_words(start: Any, target: Any, soon: Any) -> None:
    """Text, binary, ping, close code and subprotocol arrive as both ends spoke them."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat",))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data * 2)
            else:
                await socket.send_bytes(message.data)
                await socket.close(code=4321, message=b"enough")
        return socket

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    listening = target(type("At", (), {"url": f"http://127.0.0.1:{port}"})())
    bench = await start(listening)
    url = f"http://127.0.0.1:{bench.gate.port}/ws"
    async with soon(), ClientSession() as session, session.ws_connect(url, protocols=("chat",)) as socket:
        assert socket.protocol == "chat"
        await socket.ping(b"hello")
        await socket.send_str("ab" * 50_000)
        assert (await socket.receive()).data == "ab" * 100_000
        await socket.send_bytes(b"\x00\xff")
        assert (await socket.receive()).data == b"\x00\xff"
        closing = await socket.receive()
        assert (closing.type, closing.data, closing.extra) == (WSMsgType.CLOSE, 4321, "enough")
    await runner.cleanup()
    assert (await bench.events.closed()).status == 101
