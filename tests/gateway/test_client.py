"""What clients may do to the gate."""

import asyncio
from typing import Any

import pytest

from joulegate.gateway.upstream import LARGEST_HEAD
from joulegate.testing.upstream import Peer, echo


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
