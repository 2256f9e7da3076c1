"""What the upstreams are, and whether they are there."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from joulegate import clock
from joulegate.config import UpstreamConfig
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.policy.settings import Target, target_of
from joulegate.gateway.servers.fingerprints import ServerIdentity
from joulegate.gateway.servers.upstream_prober import FIRST, LAST, UpstreamProber, look, survey
from joulegate.model import ServerKind, UpstreamReport
from joulegate.testing.upstream import Peer, Script, ScriptedUpstream
from joulegate.units import NANO, Nanoseconds

Serve = Callable[[Script], Awaitable[ScriptedUpstream]]
MODELS = json.dumps({"data": [{"id": "qwen", "owned_by": "vllm"}]}).encode()


async def vllm(peer: Peer) -> None:
    """A vLLM 0.33 that serves one model."""
    while request := await peer.request():
        if request.target == b"/v1/models":
            await peer.answer(MODELS)
        elif request.target == b"/version":
            await peer.answer(b'{"version":"0.33.0"}')
        else:
            await peer.answer(b"", status="404 Not Found")


def pool_of(target: Target) -> Pool:
    return Pool(target, clock.monotonic, Nanoseconds(NANO))


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
    """One scout at work on one upstream."""

    def __init__(self, target: Target, group: asyncio.TaskGroup) -> None:
        self.sleeps = Sleeps()
        self.kinds: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        pools = {target.name: pool_of(target)}
        self.scout = UpstreamProber(
            [target], pools.__getitem__, lambda *found: self.kinds.put_nowait(found), self.sleeps
        )
        self.task = group.create_task(self.scout.run())

    @property
    def report(self) -> UpstreamReport:
        (report,) = self.scout.reports()
        return report


async def test_a_server_is_told_with_its_version_and_models(
    serve: Serve, target: Callable[..., Target], soon: Callable[[], asyncio.Timeout]
) -> None:
    """What answers is known by kind, version and models, and the gate is told of the kind."""
    upstream = await serve(vllm)
    async with soon(), asyncio.TaskGroup() as group:
        bench = Bench(target(upstream), group)
        assert await bench.kinds.get() == ("upstream", "vllm")
        assert bench.report == UpstreamReport("upstream", True, "vllm", "0.33.0", ("qwen",))
        bench.task.cancel()
    assert bench.sleeps.asked == []


async def test_a_server_that_is_not_there_is_asked_until_it_is(
    serve: Serve, target: Callable[..., Target], soon: Callable[[], asyncio.Timeout]
) -> None:
    """It is asked less and less often; while it says that it loads, it is there and not known yet."""
    says = [b"", b"503 Loading", b"200 OK"]

    async def starting(peer: Peer) -> None:
        if says[0] == b"200 OK":
            await vllm(peer)
        elif says[0] and await peer.request():
            await peer.answer(status=says[0].decode())

    upstream = await serve(starting)
    async with soon(), asyncio.TaskGroup() as group:
        bench = Bench(target(upstream), group)
        await bench.sleeps.asleep.acquire()
        assert (bench.report.up, bench.report.kind) == (False, "auto")
        for state in (True, True):
            says.pop(0)
            bench.sleeps.wake.release()
            if says[0] != b"200 OK":
                await bench.sleeps.asleep.acquire()
                assert (bench.report.up, bench.report.kind) == (state, "auto")
        assert await bench.kinds.get() == ("upstream", "vllm")
        bench.task.cancel()
    assert bench.sleeps.asked == [FIRST, 2 * FIRST]


async def test_a_lost_server_is_looked_at_again(
    serve: Serve, target: Callable[..., Target], soon: Callable[[], asyncio.Timeout]
) -> None:
    """When requests find a server gone, it is looked for; what comes back may be another one."""
    now: list[Script] = [vllm]

    async def serving(peer: Peer) -> None:
        await now[0](peer)

    async def llamacpp(peer: Peer) -> None:
        while await peer.request():
            await peer.answer(b'{"data":[{"owned_by":"llamacpp"}]}')

    upstream = await serve(serving)
    async with soon(), asyncio.TaskGroup() as group:
        bench = Bench(target(upstream), group)
        assert await bench.kinds.get() == ("upstream", "vllm")
        now[0] = llamacpp
        bench.scout.note("upstream", up=False)
        assert bench.report.up is False
        assert await bench.kinds.get() == ("upstream", "llamacpp")
        assert bench.report.up is True
        bench.task.cancel()


async def test_a_configured_kind_is_not_doubted(serve: Serve, target: Callable[..., Target]) -> None:
    """``kind = "vllm"`` asks the server nothing; it is only seen to be there."""

    async def silent(peer: Peer) -> None:
        assert await peer.request() is None

    upstream = await serve(silent)
    assert await look(pool_of(target(upstream)), "tgi") == ServerIdentity(ServerKind.TGI)


@pytest.mark.parametrize("kind", ["auto", "tgi"])
async def test_nobody_there_is_no_server(kind: str) -> None:
    """A refused connection is told apart from a server of unknown kind."""
    async with ScriptedUpstream(vllm) as upstream:
        gone = upstream.url
    assert await look(pool_of(target_of(UpstreamConfig("a", gone))), kind) is None


async def test_a_survey_looks_at_all_servers(serve: Serve) -> None:
    """Each upstream of a configuration is asked, in its order."""
    upstream = await serve(vllm)
    async with ScriptedUpstream(vllm) as other:
        gone = other.url
    found = await survey([UpstreamConfig("a", gone), UpstreamConfig("b", upstream.url)])
    assert found[0] is None
    assert found[1]
    assert found[1].text() == "vLLM 0.33.0"


def test_waits_are_bounded() -> None:
    """A server that comes back after hours is noticed within half a minute."""
    assert FIRST < LAST <= 30
