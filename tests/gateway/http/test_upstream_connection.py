"""What upstreams may do to the gate."""

import asyncio
from typing import Any

import pytest

from joulegate.gateway.http.heads import LARGEST_HEAD
from joulegate.model import Outcome
from joulegate.testing.upstream import Peer

OK = b"HTTP/1.1 200 OK\r\n"
HOSTILE = {
    "garbage": b"\x16\x03\x01 what\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "bad version": b"HTTP/9.9 200 OK\r\n\r\n",
    "bad length": OK + b"Content-Length: 5x\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "other coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "unsolicited 101": b"HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nx",
    "101 without a protocol": b"HTTP/1.1 101 Switch\r\n\r\n",
    "NUL in a value": OK + b"A: x\x00y\r\nContent-Length: 0\r\n\r\n",
    "escape in a value": OK + b"A: x\x1by\r\nContent-Length: 0\r\n\r\n",
    "CR in the reason": b"HTTP/1.1 200 O\rK: 1\r\nContent-Length: 0\r\n\r\n",
    "blank in a name": OK + b"A b: 1\r\nContent-Length: 0\r\n\r\n",
    "huge head": OK + (b"A: " + b"x" * 60_000 + b"\r\n") * 5,
    "one huge field": OK + b"A: " + b"x" * 262_144 + b"\r\n\r\n",
    "too many fields": OK + b"A: 1\r\n" * 1000 + b"\r\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_an_answer_that_is_none_becomes_a_502(start: Any, serve: Any, soon: Any, kind: str) -> None:
    """Whatever the upstream says, the client gets valid HTTP, and the upstream is let go."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HOSTILE[kind])
        await peer.left()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask(body=b"{}")
    status, fields, body = await client.answer()
    assert (status, fields["content-type"]) == (502, "application/json")
    assert b"upstream_protocol_error" in body
    assert (await bench.events.closed()).outcome is Outcome.UPSTREAM_PROTOCOL_ERROR
    async with soon():
        await upstream.peers[0].gone.wait()
    assert len(HOSTILE["huge head"]) > LARGEST_HEAD


@pytest.mark.parametrize(
    "rest", [b"Zx\r\nhello\r\n", b"-5\r\nhello\r\n", b"fffffffffffffffff\r\nx", b"5\r\nhello!\r\n"]
)
async def test_broken_chunks_cut_the_answer(start: Any, serve: Any, rest: bytes) -> None:
    """A chunk that is none is seen as a cut, after what came before it (CVE-2026-69244)."""

    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n")
        await go.wait()
        await peer.send(rest)
        await peer.left()

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask(body=b"{}")
    assert (await client.head())[0] == 200
    assert await client.reader.readexactly(9) == b"4\r\ngood\r\n"
    go.set()
    assert not (await client.closed()).endswith(b"0\r\n\r\n")
    assert (await bench.events.closed()).outcome is Outcome.UPSTREAM_PROTOCOL_ERROR


async def test_an_interim_answer_precedes_the_real_one(start: Any, serve: Any) -> None:
    """103 goes on to the client; a 100 that nobody waits for does not."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await peer.answer(b"done")

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask(body=b"{}")
    status, fields = await client.head()
    assert (status, fields["link"]) == (103, "</a>")
    assert (await client.answer())[::2] == (200, b"done")


async def test_a_connection_is_kept_for_the_next_request(start: Any, serve: Any) -> None:
    """Requests that follow one another share a connection."""

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            await peer.answer(request.body)

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    for number in range(5):
        await client.ask(body=b"%d" % number)
        assert (await client.answer())[2] == b"%d" % number
    assert len(upstream.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(
    start: Any, serve: Any, answer: bytes
) -> None:
    """A closing server, an old one and one that answers twice get no second request."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.left()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    for _ in range(2):
        await client.ask(body=b"{}")
        assert (await client.answer())[2] == b"ok"
    assert len(upstream.peers) == 2


async def test_bytes_that_nobody_asked_for_end_a_kept_connection(start: Any, serve: Any) -> None:
    """An answer to no request never becomes the answer to the next one."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"first")
        await go.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await peer.left()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask(body=b"{}")
    assert (await client.answer())[2] == b"first"
    go.set()
    async with asyncio.timeout(2):
        await upstream.peers[0].gone.wait()
    await client.ask(body=b"{}")
    assert (await client.answer())[2] == b"first"


async def test_bodies_stay_compressed(start: Any, serve: Any) -> None:
    """What is said to be gzip passes as it is, be it gzip or not."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        assert request.body == b"\x1f\x8b broken"
        assert request.all(b"accept-encoding") == []
        await peer.answer(b"\x1f\x8b broken too", fields=[b"Content-Encoding: gzip"])

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask(body=b"\x1f\x8b broken", fields=b"Content-Encoding: gzip\r\n")
    status, fields, body = await client.answer()
    assert (status, fields["content-encoding"], body) == (200, "gzip", b"\x1f\x8b broken too")


@pytest.mark.parametrize(("count", "status"), [(8, 200), (9, 502), (100_000, 502)])
async def test_interim_answers_have_a_bound(start: Any, serve: Any, count: int, status: int) -> None:
    """A few hints pass; endless ones are no answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * count)
        await peer.answer(b"done")

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask(body=b"{}")
    seen = 103
    while seen == 103:
        seen, _ = await client.head()
    assert seen == status


async def test_each_interim_answer_is_a_sign_of_life(start: Any, serve: Any, timeouts: Any) -> None:
    """A server that says that it works is waited for, however long its first byte takes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for _ in range(4):
            await asyncio.sleep(0.15)  # its work
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await peer.answer(b"done")

    bench = await start(await serve(script), timeouts=timeouts(first_byte=0.3))
    client = await bench.client()
    await client.ask(body=b"{}")
    seen = [(await client.head())[0] for _ in range(5)]
    assert seen == [102] * 4 + [200]
