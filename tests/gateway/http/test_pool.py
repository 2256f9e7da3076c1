"""Kept connections."""

import asyncio
import socket
from typing import Any

import pytest

from joulegate.config.addresses import Endpoint
from joulegate.errors import UpstreamError
from joulegate.gateway.http.pool import AGE, IDLE, Pool
from joulegate.model import Outcome
from joulegate.testing.upstream import Peer
from joulegate.units import Nanoseconds, nanoseconds


async def listen(peer: Peer) -> None:
    """Wait for the gate to leave."""
    await peer.left()


async def test_an_idle_connection_is_given_once_and_not_for_long(serve: Any, target: Any, soon: Any) -> None:
    """The one used last comes first; one that is too old is closed."""
    now = [0]
    upstream = await serve(listen)
    pool = Pool(target(upstream).endpoints[0], lambda: Nanoseconds(now[0]), nanoseconds(5))
    assert pool.kept() is None
    first, second = await pool.connect(), await pool.connect()
    pool.keep(first)
    now[0] = second.idle_since = IDLE - 1
    pool.keep(second)
    assert pool.kept() is second
    assert pool.kept() is first
    pool.keep(first)
    now[0] = IDLE
    assert pool.kept() is None
    async with soon():
        await upstream.peers[0].gone.wait()
    second.abort()


async def test_what_is_idle_for_too_long_is_closed_without_being_asked_for(
    serve: Any, target: Any, soon: Any
) -> None:
    """An upstream is not held open by a gate that has nothing to say."""
    upstream = await serve(listen)
    pool = Pool(target(upstream).endpoints[0], lambda: Nanoseconds(0), nanoseconds(5))
    old, young = await pool.connect(), await pool.connect()
    young.idle_since = Nanoseconds(1)
    pool.keep(old)
    pool.keep(young)
    pool.check(IDLE)
    async with soon():
        await upstream.peers[0].gone.wait()
    assert pool.kept() is young
    pool.keep(young)
    pool.close()
    async with soon():
        await upstream.peers[1].gone.wait()


async def test_a_connection_that_the_upstream_closed_is_not_given(serve: Any, target: Any, soon: Any) -> None:
    """A dead connection is seen before it is used."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await go.wait()

    pool = Pool(target(await serve(script)).endpoints[0], lambda: Nanoseconds(0), nanoseconds(5))
    connection = await pool.connect()
    pool.keep(connection)
    go.set()
    async with soon():
        while connection.connected:
            await asyncio.sleep(0)
    assert pool.kept() is None


async def test_a_connection_that_cannot_be_opened_says_why() -> None:
    """The error names the server and is one that the table knows."""
    pool = Pool(Endpoint("http", "127.0.0.1", 1), lambda: Nanoseconds(0), nanoseconds(5))
    with pytest.raises(UpstreamError, match=r"http://127\.0\.0\.1:1: ") as refused:
        await pool.connect()
    assert refused.value.outcome == Outcome.UPSTREAM_REFUSED


async def test_a_name_that_is_none_is_no_route() -> None:
    """An upstream whose name cannot be resolved is refused like one that is not there."""
    pool = Pool(Endpoint("http", "host.invalid", 80), lambda: Nanoseconds(0), nanoseconds(5))
    with pytest.raises(UpstreamError) as refused:
        await pool.connect()
    assert refused.value.outcome in {Outcome.UPSTREAM_REFUSED, Outcome.UPSTREAM_TIMEOUT}


async def test_a_connection_that_takes_too_long_is_a_timeout(serve: Any, target: Any) -> None:
    """``timeout.connect`` bounds the wait."""
    pool = Pool(target(await serve(listen)).endpoints[0], lambda: Nanoseconds(0), Nanoseconds(0))
    with pytest.raises(UpstreamError) as late:
        await pool.connect()
    assert late.value.outcome == Outcome.UPSTREAM_TIMEOUT


async def test_a_dead_address_of_a_name_holds_nobody_up(serve: Any) -> None:
    """Of several addresses the first that answers is taken, wherever it stands in the list."""
    upstream = await serve(listen)

    async def both(host: str, port: int, **_: Any) -> list[Any]:
        """Give ::1, where nobody listens, before the address of the server."""
        del host
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [
            (socket.AF_INET6, *kind, ("::1", port, 0, 0)),
            (socket.AF_INET, *kind, ("127.0.0.1", port)),
        ]

    endpoint = Endpoint("http", "two.example", upstream.port)
    pool = Pool(endpoint, lambda: Nanoseconds(0), nanoseconds(5), resolve=both)
    connection = await pool.connect()
    assert connection.usable
    connection.abort()


async def test_a_connection_is_not_used_for_ever(serve: Any, target: Any) -> None:
    """After some minutes a name is looked up again: it may lead elsewhere now."""
    now = [0]
    pool = Pool(target(await serve(listen)).endpoints[0], lambda: Nanoseconds(now[0]), nanoseconds(5))
    connection = await pool.connect()
    for age, again in ((AGE - 1, True), (AGE, False)):
        now[0] = connection.idle_since = Nanoseconds(age)
        pool.keep(connection)
        assert (pool.kept() is connection) == again


async def test_the_operating_system_watches_over_silent_peers(serve: Any, target: Any) -> None:
    """Keepalive probes, and an end to data that nobody acknowledges."""
    pool = Pool(target(await serve(listen)).endpoints[0], lambda: Nanoseconds(0), nanoseconds(5))
    connection = await pool.connect()
    peer = connection.detach().get_extra_info("socket")
    assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000
