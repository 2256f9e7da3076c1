"""The gate as a whole: start, report, drain."""

import asyncio
from typing import Any

import pytest

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import Endpoint
from joulegate.gateway.gate import Gate
from joulegate.gateway.policy.settings import GateSettings
from joulegate.model import Outcome
from joulegate.testing.upstream import Peer, echo
from joulegate.units import Nanoseconds, nanoseconds

SETTINGS = GateSettings((UpstreamConfig("a", (Endpoint("http", "127.0.0.1", 1),)),))


class Nobody:
    """Hears nothing."""

    def emit(self, event: object) -> None: ...


async def test_a_gate_that_has_not_started_says_so() -> None:
    """A report and a drain are harmless at any time."""
    gate = Gate(SETTINGS, {}, Nobody(), gate_id="g1")
    assert (gate.report().id, gate.port) == ("g1", 0)
    await gate.drain(Nanoseconds(0))


async def test_gates_share_a_port() -> None:
    """Several processes may listen on one port; a port that is not shared is taken."""
    first, second, third = (Gate(SETTINGS, {}, Nobody(), gate_id=str(number)) for number in range(3))
    await first.start("127.0.0.1", 0, reuse_port=True)
    port = first.port
    try:
        await second.start("127.0.0.1", port, reuse_port=True)
        assert second.port == port
        with pytest.raises(OSError, match="in use"):
            await third.start("127.0.0.1", port, reuse_port=False)
    finally:
        for gate in (first, second, third):
            await gate.drain(Nanoseconds(0))


async def test_a_drain_lets_requests_finish_and_takes_no_new_ones(start: Any, serve: Any, soon: Any) -> None:
    """SIGTERM cuts no stream within the grace; a kept connection is told to come again elsewhere."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            if request.body == b"long":
                await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                await peer.chunks(b"begun", last=False)
                await go.wait()
                await peer.chunks(b"done")
            else:
                await peer.answer(b"ok")

    bench = await start(await serve(script))
    running, idle = await bench.client(), await bench.client()
    await idle.ask("/x", body=b"1")
    await idle.answer()
    await running.ask("/x", body=b"long")
    _, fields = await running.head()
    port = bench.gate.port
    async with asyncio.TaskGroup() as group:
        draining = group.create_task(bench.gate.drain(nanoseconds(8)))
        await asyncio.sleep(0)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        await idle.ask("/x", body=b"2")
        status, refused, _ = await idle.answer()
        assert (status, refused["connection"]) == (503, "close")
        assert not draining.done()
        go.set()
        assert await running.body(200, fields) == b"begundone"
        async with soon():
            await draining
    assert (await bench.events.closed(2)).outcome is Outcome.OK
    assert await running.closed() == b""


async def test_what_outlives_the_grace_is_cut(start: Any, serve: Any) -> None:
    """After the grace the rest is ended, told of, and never looks complete."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.chunks(b"begun", last=False)
        await peer.left()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask("/x", body=b"1")
    await client.head()
    await bench.gate.drain(nanoseconds(0.05))
    assert not (await client.closed()).endswith(b"0\r\n\r\n")
    closed = await bench.events.closed()
    assert (closed.outcome, closed.status) == (Outcome.ORPHANED, 200)
    await asyncio.wait_for(upstream.peers[0].gone.wait(), 5)


async def test_a_report_says_what_is_under_way(start: Any, serve: Any) -> None:
    """Requests in flight by upstream, refusals by reason, and how late the loop was."""
    bench = await start(await serve(echo))
    client = await bench.client()
    await client.ask("/x", body=b"1")
    await client.answer()
    await client.send(b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.answer()
    report = bench.gate.report()
    assert (report.id, report.in_flight, report.refused) == ("g", (("upstream", 0),), (("malformed", 1),))
    assert report.loop_lag >= 0
