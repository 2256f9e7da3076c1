"""All client connections of a gate."""

import asyncio
from typing import Any

from joulegate.testing.upstream import Peer, echo


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
