"""One server of an upstream: whether it is there, what it is, and when it gets no request."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import Endpoint
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.policy.settings import GateSettings
from joulegate.gateway.replica import (
    FIRST_EJECTION,
    FIRST_LOOK,
    LAST_EJECTION,
    LAST_LOOK,
    Pace,
    Replica,
    onward_key,
)
from joulegate.ports.servers import ServerIdentity
from joulegate.testing.upstream import Peer, Script, ScriptedUpstream
from joulegate.units import Nanoseconds

Serve = Callable[[Script], Awaitable[ScriptedUpstream]]
MODELS = json.dumps({"data": [{"id": "qwen", "owned_by": "vllm"}]}).encode()


class Nobody:
    """Hears nothing."""

    def emit(self, event: object) -> None: ...


async def vllm(peer: Peer) -> None:
    """A vLLM 0.33 that serves one model."""
    while request := await peer.request():
        if request.target == b"/v1/models":
            await peer.answer(MODELS)
        elif request.target == b"/version":
            await peer.answer(b'{"version":"0.33.0"}')
        else:
            await peer.answer(b"", status="404 Not Found")


class Sleeps:
    """Waits as long as the test lets it, and remembers for how long it was asked to."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.asleep = asyncio.Semaphore(0)
        self.wake = asyncio.Semaphore(0)

    async def __call__(self, wait: float) -> None:
        self.asked.append(wait)
        self.asleep.release()
        await self.wake.acquire()


class Bench:
    """One replica that is looked at."""

    def __init__(self, target: UpstreamConfig, *, idle_look: float = 1000.0) -> None:
        self.sleeps = Sleeps()
        self.looked = asyncio.Semaphore(0)
        self.recovered = 0
        self.now = 0
        settings = GateSettings((target,))
        self.context = GateContext(settings, Nobody(), lambda: Nanoseconds(self.now), lambda: Nanoseconds(0))
        self.replica = Replica(
            target,
            target.endpoints[0],
            self.context,
            Pace(idle_look, self.sleeps),
            learned=self.looked.release,
            recovered=self._recover,
        )

    def _recover(self) -> None:
        self.recovered += 1


@asynccontextmanager
async def bench_of(target: UpstreamConfig, **pace: float) -> AsyncIterator[Bench]:
    bench = Bench(target, **pace)
    async with asyncio.timeout(10):
        yield bench
    await bench.context.tasks.end()
    bench.context.hangups.close()


NOWHERE = UpstreamConfig("u", (Endpoint("http", "127.0.0.1", 1),))


async def test_a_server_is_told_with_its_version_and_models(serve: Serve, target: Any) -> None:
    """What answers is known by kind, version and models."""
    async with bench_of(target(await serve(vllm))) as bench:
        assert bench.replica.up is None
        bench.replica.attend()
        await bench.looked.acquire()
        assert bench.replica.identity == ServerIdentity("vllm", "0.33.0", ("qwen",), title="vLLM")
        assert (bench.replica.up, bench.replica.kind, bench.replica.models) == (True, "vllm", ("qwen",))
        assert bench.sleeps.asked == []


async def test_a_server_that_is_not_there_is_asked_until_it_is(serve: Serve, target: Any) -> None:
    """It is asked less and less often; while it says that it loads, it is there and not known yet."""
    says = [b"", b"503 Loading", b"200 OK"]

    async def starting(peer: Peer) -> None:
        if says[0] == b"200 OK":
            await vllm(peer)
        elif says[0] and await peer.request():
            await peer.answer(status=says[0].decode())

    async with bench_of(target(await serve(starting))) as bench:
        bench.replica.attend()
        await bench.sleeps.asleep.acquire()
        assert (bench.replica.up, bench.replica.kind) == (False, "auto")
        says.pop(0)
        bench.sleeps.wake.release()
        await bench.sleeps.asleep.acquire()
        assert (bench.replica.up, bench.replica.kind, bench.recovered) == (True, "auto", 1)
        says.pop(0)
        bench.sleeps.wake.release()
        while bench.replica.kind != "vllm":
            await bench.looked.acquire()
        assert bench.sleeps.asked == [FIRST_LOOK, 2 * FIRST_LOOK]


async def test_a_dead_server_that_nobody_calls_shows_as_one(target: Any) -> None:
    """Without traffic it is asked now and then; with requests under way the traffic tells."""
    async with ScriptedUpstream(vllm) as upstream:
        settings = target(upstream)
        bench = Bench(settings, idle_look=0.001)
        bench.replica.attend()
        async with asyncio.timeout(10):
            await bench.looked.acquire()
    async with asyncio.timeout(10):
        await bench.sleeps.asleep.acquire()
    assert bench.replica.up is False
    await bench.context.tasks.end()
    bench.context.hangups.close()


async def test_a_lost_server_is_looked_at_again(serve: Serve, target: Any) -> None:
    """When requests find a server gone, it is looked for; what comes back may be another one."""
    now: list[Script] = [vllm]

    async def serving(peer: Peer) -> None:
        await now[0](peer)

    async def llamacpp(peer: Peer) -> None:
        while await peer.request():
            await peer.answer(b'{"data":[{"owned_by":"llamacpp"}]}')

    async with bench_of(target(await serve(serving))) as bench:
        bench.replica.attend()
        await bench.looked.acquire()
        now[0] = llamacpp
        bench.replica.unreached("no connection")
        assert bench.replica.up is False
        await bench.looked.acquire()
        assert (bench.replica.up, bench.replica.kind, bench.recovered) == (True, "llamacpp", 1)


async def test_a_loss_is_logged_once_and_so_is_its_end() -> None:
    """A server that is down for an hour is one line, not one for each request."""
    async with bench_of(NOWHERE) as bench:
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                bench.replica.unreached("no")
            bench.replica.reached()
            bench.replica.reached()
    assert [entry["event"] for entry in logs] == ["upstream.lost", "upstream.recovered"]


async def test_the_time_out_doubles_and_ends_with_an_answer() -> None:
    """A replica that fails again and again gets a request ever more seldom, but always again."""
    async with bench_of(NOWHERE) as bench:
        waits = []
        for _ in range(8):
            bench.replica.failed(Nanoseconds(bench.now))
            waits.append(bench.replica.out_until - bench.now)
            assert not bench.replica.available(Nanoseconds(bench.now + waits[-1] - 1))
            bench.now += waits[-1]
            assert bench.replica.available(Nanoseconds(bench.now))
        assert waits == [min(FIRST_EJECTION << turn, LAST_EJECTION) for turn in range(8)]
        bench.replica.failed(Nanoseconds(bench.now))
        bench.replica.answered()
        assert bench.replica.available(Nanoseconds(bench.now))


async def test_work_after_clients_have_left_is_logged_once() -> None:
    """The verdict of each watch is kept, the first bad one is a line."""
    async with bench_of(NOWHERE) as bench:
        with structlog.testing.capture_logs() as logs:
            for verdict in (True, True, False):
                bench.replica.disconnects._verdict(verdict)
                assert bench.replica.keeps_working is verdict
    assert [entry["event"] for entry in logs] == ["upstream.overran"]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (UpstreamConfig("v", NOWHERE.endpoints, models=("m",)), True),
        (UpstreamConfig("u", NOWHERE.endpoints, path="/a"), True),
        (UpstreamConfig("u", NOWHERE.endpoints, path="/a", strip_path=True), False),
    ],
)
def test_heads_are_kept_as_long_as_they_are_the_same(other: UpstreamConfig, same: bool) -> None:
    """After a reload that changes what is stripped off the path, a remembered head would be wrong."""
    place = NOWHERE.endpoints[0]
    assert (onward_key(other, place) == onward_key(NOWHERE, place)) is same


def test_waits_are_bounded() -> None:
    """A server that comes back after hours is noticed within half a minute."""
    assert FIRST_LOOK < LAST_LOOK <= 30
