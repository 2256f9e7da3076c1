"""Small requests of the gate's own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from joulegate import clock
from joulegate.config import UpstreamConfig
from joulegate.errors import UpstreamError
from joulegate.gateway.http import call as module
from joulegate.gateway.http.call import call
from joulegate.gateway.http.pool import Pool
from joulegate.testing.upstream import Peer, Script, ScriptedUpstream
from joulegate.units import NANO, Nanoseconds

Serve = Callable[[Script], Awaitable[ScriptedUpstream]]


@pytest.fixture
def pool(target: Callable[..., UpstreamConfig]) -> Callable[[ScriptedUpstream], Pool]:
    return lambda upstream: Pool(target(upstream).endpoints[0], clock.monotonic, Nanoseconds(NANO))


async def test_a_call_asks_and_brings_the_answer(serve: Serve, pool: Callable[..., Pool]) -> None:
    """The request is whole and names the host; status, fields and body come back; the connection ends."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.request()
        await peer.send(b"HTTP/1.1 201 X\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok")
        await peer.left()

    upstream = await serve(script)
    answer = await call(pool(upstream), "POST", "/stop", b'{"a":1}')
    assert (answer.status, answer.fields[b"x-a"], answer.body) == (201, b"b", b"ok")
    (request,) = peers[0].requests
    assert request.line == b"POST /stop HTTP/1.1"
    assert request.all(b"host") == [f"127.0.0.1:{upstream.port}".encode()]
    assert request.body == b'{"a":1}'


async def test_an_endless_answer_is_cut(
    serve: Serve, pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first part of an answer is looked at."""
    monkeypatch.setattr(module, "LARGEST", 100)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)
        await peer.left()

    assert (await call(pool(await serve(script)), "GET", "/")).body == b"x" * 100


@pytest.mark.parametrize(
    "said", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"]
)
async def test_no_answer_is_an_error(serve: Serve, pool: Callable[..., Pool], said: bytes) -> None:
    """A server that hangs up or does not speak HTTP is told apart from one that answers."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)

    with pytest.raises(UpstreamError):
        await call(pool(await serve(script)), "GET", "/")


async def test_a_server_that_hangs_is_given_up(serve: Serve, pool: Callable[..., Pool]) -> None:
    """A call ends after its patience, and lets go of the connection."""
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.left()
        gone.set()

    with pytest.raises(UpstreamError) as raised:
        await call(pool(await serve(script)), "GET", "/", patience=0.05)
    assert raised.value.outcome == "upstream_timeout"
    await gone.wait()
