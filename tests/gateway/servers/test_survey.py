"""What stands behind an address."""

import json
from collections.abc import Awaitable, Callable

import pytest

from joulegate import clock
from joulegate.config import UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.servers.survey import look, survey
from joulegate.ports.servers import ServerIdentity
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


def pool_of(target: UpstreamConfig) -> Pool:
    return Pool(target.endpoints[0], clock.monotonic, Nanoseconds(NANO))


async def test_a_configured_kind_is_not_doubted(serve: Serve, target: Callable[..., UpstreamConfig]) -> None:
    """``kind = "vllm"`` asks the server nothing; it is only seen to be there."""

    async def silent(peer: Peer) -> None:
        assert await peer.request() is None

    upstream = await serve(silent)
    assert await look(pool_of(target(upstream)), "tgi") == ServerIdentity(
        "tgi", title="Text Generation Inference"
    )


@pytest.mark.parametrize("kind", ["auto", "tgi"])
async def test_nobody_there_is_no_server(kind: str) -> None:
    """A refused connection is told apart from a server of unknown kind."""
    async with ScriptedUpstream(vllm) as upstream:
        gone = endpoint(upstream.url)
    assert await look(pool_of(UpstreamConfig("a", (gone,))), kind) is None


async def test_a_survey_looks_at_all_servers(serve: Serve) -> None:
    """Each upstream of a configuration is asked, in its order."""
    upstream = await serve(vllm)
    async with ScriptedUpstream(vllm) as other:
        gone = endpoint(other.url)
    found = await survey([UpstreamConfig("a", (gone,)), UpstreamConfig("b", (endpoint(upstream.url),))])
    assert found[0] == (None,)
    (here,) = found[1]
    assert here
    assert here.text() == "vLLM 0.33.0"
