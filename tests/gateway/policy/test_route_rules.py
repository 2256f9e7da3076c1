"""Routes that the configuration knows."""

from typing import Any

import pytest

from joulegate.app.protocols import protocols
from joulegate.config import PlacesConfig, RouteConfig
from joulegate.gateway.policy.route_rules import RouteRule, route_rule, ruled
from joulegate.model import Fact, FactSource, Task, WorkClass
from joulegate.ports import Places, Route
from joulegate.testing.upstream import Peer


def rules(*configs: RouteConfig) -> tuple[RouteRule, ...]:
    return tuple(map(route_rule, configs))


@pytest.mark.parametrize(
    ("method", "path", "upstreams", "task"),
    [
        ("POST", "/caption/a", ["one"], Task.IMAGE_CAPTIONING),
        ("POST", "/caption/a", ["two"], Task.CHAT),
        ("GET", "/caption/a", ["one"], None),
        ("POST", "/caption", ["one"], None),
    ],
)
def test_the_first_rule_that_takes_a_request_wins(
    method: str, path: str, upstreams: list[str], task: Task | None
) -> None:
    """Method, path and upstream must agree."""
    known = rules(
        RouteConfig("/caption/{model}", upstream="one", task="image-captioning"),
        RouteConfig("/caption/*", task="chat"),
    )
    found = ruled(known, upstreams, method, path)
    assert (found.rule.task if found else None) == task


def test_a_rule_says_what_a_route_is() -> None:
    """Of a route that nobody knows it says everything, of one that is like another only what it names."""
    places = PlacesConfig(model="/m")
    own, like = rules(
        RouteConfig("/a/{model}", task="chat", answer=places), RouteConfig("/b", like="/c", work="probe")
    )
    first, second = (ruled([rule], ["u"], "POST", path) for rule, path in ((own, "/a/x%2Fy"), (like, "/b")))
    assert first
    assert second
    expected = Places(request={}, answer={"model": ("m",)})
    assert first.over(Route("other")) == Route(
        "rule", Task.CHAT, dialect="plain", model="x/y", places=expected
    )
    known = Route("known", Task.EMBEDDINGS, dialect="triton", model="m")
    assert second.over(known) == Route("known", Task.EMBEDDINGS, WorkClass.PROBE, dialect="triton", model="m")


async def captions(peer: Peer) -> None:
    while await peer.request():
        body = b'{"result":{"captions":["a cat","a dog"],"tokens":7}}'
        await peer.answer(body, fields=[b"Content-Type: application/json"])


async def test_a_route_of_ones_own_is_metered(start: Any, serve: Any) -> None:
    """Through the real gate: task, model and counts come from where the rule says."""
    answer = PlacesConfig(completion_tokens="/result/tokens", choices="/result/captions")
    rule = RouteConfig(
        "/predict/*", task="image-captioning", request=PlacesConfig(model="/network/0"), answer=answer
    )
    bench = await start(await serve(captions), protocols=protocols(), rules=rules(rule))
    client = await bench.client()
    await client.ask("/predict/x?q=1", body=b'{"network":["blip",1]}')
    assert (await client.answer())[0] == 200
    opened, closed = await bench.events.opened(), await bench.events.closed()
    assert (opened.protocol, opened.route, opened.task) == ("generic", "rule", Task.IMAGE_CAPTIONING)
    assert opened.asked.model == "blip"
    assert closed.facts.completion_tokens == Fact(7)
    assert closed.facts.choices == Fact(2, FactSource.DERIVED)


async def test_a_moved_route_is_read_like_the_one_it_is(start: Any, serve: Any) -> None:
    """Vertex AI gives a container its own path; the rule says whose language is spoken there."""

    async def script(peer: Peer) -> None:
        await peer.request()
        body = b'{"predictions":[1,2,3]}'
        await peer.answer(body, fields=[b"Content-Type: application/json"])

    bench = await start(
        await serve(script),
        protocols=protocols(),
        rules=rules(RouteConfig("/p/{model}:x", like="/invocations")),
    )
    client = await bench.client()
    await client.ask("/p/m:x", body=b'{"instances":[1,2,3]}')
    await client.answer()
    opened, closed = await bench.events.opened(), await bench.events.closed()
    assert (opened.protocol, opened.route, opened.asked.model) == ("sagemaker", "invocations", "m")
    assert closed.facts.choices == Fact(3, FactSource.DERIVED)
