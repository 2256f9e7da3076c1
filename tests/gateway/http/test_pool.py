"""Kept connections."""

import asyncio
from typing import Any

import pytest

from joulegate.config.addresses import Endpoint
from joulegate.errors import UpstreamError
from joulegate.gateway.http.pool import IDLE, Pool
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
