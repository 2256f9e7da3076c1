"""What becomes of a request."""

import json
from typing import Any

import pytest

from joulegate.config import RespondConfig
from joulegate.gateway.exchange.dispatcher import LONGEST_WAY, WAYS
from joulegate.gateway.policy.tenants import Tenants
from joulegate.model import Outcome, SpanClosed, SpanOpened, Task
from joulegate.protocols.openai import Plugin as OpenAI
from joulegate.testing.upstream import Peer, echo


def naming(name: str) -> Any:
    """A script that answers every request with a name and what came."""

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            await peer.answer(f"{name} {request.target.decode()} {len(request.body)}".encode())

    return script


async def test_paths_and_hosts_lead_to_their_upstreams(start: Any, serve: Any, target: Any) -> None:
    """The raw path decides, is stripped where the configuration says so, and the rest goes to the rest."""
    bench = await start(
        target(await serve(naming("image")), name="image", path="/image", strip_path=True),
        target(await serve(naming("host")), name="host", host="gpu.example"),
        target(await serve(naming("rest")), name="rest"),
    )
    client = await bench.client()
    for path, host, expected in (
        ("/image/v1/x?a", "h", b"image /v1/x?a 0"),
        ("/image", "gpu.example:81", b"image / 0"),
        ("/v1", "GPU.example", b"host /v1 0"),
        ("/%69mage", "h", b"rest /%69mage 0"),
    ):
        await client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert (await client.answer())[2] == expected
    assert (await bench.events.opened()).route == "chat.completions", "the protocol sees the stripped path"


@pytest.mark.parametrize("padding", [0, 100_000, 3_000_000])
@pytest.mark.parametrize("chunked", [True, False])
async def test_the_model_leads_to_its_upstream_wherever_it_stands(
    start: Any, serve: Any, target: Any, padding: int, chunked: bool
) -> None:
    """Also a model that is named behind megabytes of other things is found, and nothing is lost."""
    bench = await start(
        target(await serve(naming("a")), name="a", models=("a-*",)),
        target(await serve(naming("b")), name="b", models=("b",)),
        target(await serve(naming("rest")), name="rest"),
    )
    client = await bench.client()
    for model, name in (("a-1", "a"), ("b", "b"), ("c", "rest")):
        body = json.dumps({"prompt": "x" * padding, "model": model}).encode()
        if chunked:
            head = b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            await client.send(head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        else:
            await client.ask(body=body)
        assert (await client.answer())[2] == f"{name} /v1/x {len(body)}".encode()
    opened = await bench.events.some(SpanOpened, 3)
    assert [event.upstream for event in opened] == ["a", "b", "rest"]


async def test_a_model_named_early_is_not_waited_for(start: Any, serve: Any, target: Any) -> None:
    """A large body whose model is known goes on at once; the rest of it follows."""
    upstream = await serve(naming("a"))
    bench = await start(target(upstream, models=("a",)), target(await serve(echo), name="rest"))
    client = await bench.client()
    await client.ask(fields=b"Content-Length: 1000000\r\n", method="PUT")
    await client.send(b'{"model":"a","prompt":"' + b"x" * 99_977)
    await upstream.connected()
    await client.send(b"x" * 899_998 + b'"}')
    assert (await client.answer())[2] == b"a /v1/x 1000000"


async def test_what_no_upstream_takes_is_told_the_rules(
    start: Any, serve: Any, target: Any, known: Any
) -> None:
    """The error names what was asked and what there is, in the caller's dialect."""
    bench = await start(
        target(await serve(echo), name="llm", models=("a",)),
        target(await serve(echo), name="image", path="/image"),
        protocols={"known": known(dialect="anthropic")},
    )
    client = await bench.client()
    for _ in range(2):
        await client.ask(body=b'{"model":"zzz"}')
        status, _, body = await client.answer()
        error = json.loads(body)["error"]
        assert (status, error["type"]) == (404, "not_found_error")
        assert all(word in error["message"] for word in ("zzz", "llm", "image", "/image"))
    assert bench.gate.report().refused == (("no_upstream", 2),)
    assert bench.events.all == []


async def test_a_full_upstream_is_a_503_at_once(start: Any, serve: Any, target: Any) -> None:
    """What is over the bound does not wait, and room is made by whoever ends."""

    async def hold(peer: Peer) -> None:
        while await peer.request():
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            await peer.left()

    bench = await start(target(await serve(hold), max_in_flight=1))
    first, second = await bench.client(), await bench.client()
    await first.ask(body=b"{}")
    await first.head()
    await second.ask(body=b"{}")
    status, _, body = await second.answer()
    assert (status, b"max_in_flight" in body) == (503, True)
    assert bench.gate.report().refused == (("upstream_full", 1),)
    first.close()
    await bench.events.closed()
    await second.ask(body=b"{}")
    assert (await second.head())[0] == 200


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\nx", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: x\x00y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello tls\r\n\r\n", 400),
    ],
)
async def test_what_could_mean_two_things_goes_nowhere(
    start: Any, serve: Any, wire: bytes, status: int
) -> None:
    """Smuggling, foreign targets and broken heads are refused, and no upstream hears of them."""
    upstream = await serve(echo)
    bench = await start(upstream)
    client = await bench.client()
    await client.send(wire)
    got, fields, _ = await client.answer()
    assert (got, fields["connection"]) == (status, "close")
    await client.closed()
    assert upstream.peers == []
    assert bench.gate.report().refused == (("malformed", 1),)


async def test_an_event_says_who_and_what(start: Any, serve: Any, target: Any) -> None:
    """Tenant, task, default model and the client's own identity are in the span."""
    item = target(await serve(echo), task=Task.SUMMARIZATION, model="house-model")
    bench = await start(item, tenants=Tenants.of({"lab": "sk-1"}))
    client = await bench.client()
    await client.ask(body=b"{}", fields=b"Authorization: Bearer sk-1\r\nX-Request-Id: mine\r\n")
    await client.answer()
    opened = await bench.events.opened()
    assert (opened.tenant, opened.task, opened.client_request_id) == ("lab", Task.SUMMARIZATION, "mine")
    assert (opened.asked.model, opened.protocol, opened.upstream) == ("house-model", "known", "upstream")


@pytest.mark.parametrize("path", ["//v1/chat/completions", "/v1//chat/completions", "/api/chat/completions"])
async def test_other_spellings_of_a_path_are_known_and_pass_as_sent(
    start: Any, serve: Any, path: str
) -> None:
    """The task is that of the route; the server gets the path as the client wrote it."""
    upstream = await serve(echo)
    bench = await start(upstream, protocols={"openai": OpenAI()})
    client = await bench.client()
    await client.ask(path, body=b'{"messages":[]}')
    await client.answer()
    assert (await bench.events.opened()).task is Task.CHAT
    assert upstream.requests[0].target == path.encode()


async def test_hostile_model_names_are_made_harmless(start: Any, serve: Any, known: Any) -> None:
    """A megabyte, a NUL or a lone surrogate in a name reaches no event."""
    bench = await start(
        await serve(echo), protocols={"known": known(answering="\ud800evil\x00" + "m" * 1_000_000)}
    )
    client = await bench.client()
    await client.ask(body=b'{"model":"\\ud800\\u0000\\u202e' + b"n" * 1_000_000 + b'"}')
    await client.answer()
    asked, answered = (await bench.events.opened()).asked.model, (await bench.events.closed()).model
    assert asked is not None
    assert answered is not None
    assert all(len(name) == 256 and name.isprintable() and name.encode() for name in (asked, answered))


async def test_unknown_routes_are_relayed_too(start: Any, serve: Any) -> None:
    """What no protocol knows passes and is told as generic."""
    bench = await start(await serve(echo), protocols={})
    client = await bench.client()
    await client.ask("/anything", body=b"x")
    assert (await client.answer())[::2] == (200, b"x")
    opened = await bench.events.opened()
    assert (opened.protocol, opened.task) == ("generic", Task.UNKNOWN)


async def test_the_identity_can_be_kept_out_of_answers(start: Any, serve: Any) -> None:
    """``respond.request_id = false`` leaves answers as the upstream made them."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"x", fields=[b"Joulegate-Request-Id: inner"])

    for settings, expected in (({"respond": RespondConfig(request_id=False)}, "inner"), ({}, None)):
        bench = await start(await serve(script), **settings)
        client = await bench.client()
        await client.ask(body=b"{}")
        _, fields, _ = await client.answer()
        assert fields["joulegate-request-id"] == (expected or (await bench.events.closed()).id)


async def test_a_failure_is_told_in_the_dialect_of_its_caller(start: Any, serve: Any, known: Any) -> None:
    """Whoever speaks to the gate gets errors that its library can read."""

    async def script(peer: Peer) -> None:
        await peer.request()

    for dialect, start_of_body in (("ollama", b'{"error": "'), ("plain", b"joulegate: ")):
        bench = await start(await serve(script), protocols={"known": known(dialect=dialect)})
        client = await bench.client()
        await client.ask(body=b"{}")
        status, fields, body = await client.answer()
        assert (status, body.startswith(start_of_body)) == (502, True)
        assert fields["joulegate-request-id"] == (await bench.events.closed()).id


@pytest.mark.parametrize("point", ["connect", "head", "body", "end", "client", "observer"])
async def test_every_span_is_opened_once_and_closed_once(
    start: Any, serve: Any, known: Any, point: str
) -> None:
    """Wherever a request fails, the meter is told of it exactly once."""

    async def script(peer: Peer) -> None:
        if point == "connect":
            peer.reset()
            return
        await peer.request()
        if point == "head":
            return
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        if point == "client":
            await peer.left()
        if point != "body":
            await peer.send(b"cd")

    bench = await start(
        await serve(script), protocols={"known": known(fault="facts" * (point == "observer"))}
    )
    for number in range(20):
        client = await bench.client()
        await client.ask(body=b"{}")
        if point == "client":
            await client.head()
            client.reset()
        else:
            await client.closed() if point in {"body", "connect", "head"} else await client.answer()
        await bench.events.closed(number + 1)
    opened, closed = bench.events.of(SpanOpened), bench.events.of(SpanClosed)
    assert len({event.id for event in opened}) == len(opened) == 20
    assert [event.id for event in opened] == [event.id for event in closed]
    good = {
        "end": Outcome.OK,
        "observer": Outcome.OK,
        "client": Outcome.CANCELLED,
        "body": Outcome.UPSTREAM_TRUNCATED,
    }
    assert {event.outcome for event in closed} == {good.get(point, Outcome.UPSTREAM_RESET)}


async def test_what_is_remembered_of_targets_is_bounded(start: Any, serve: Any) -> None:
    """A client that never asks for the same thing twice fills nobody's memory."""
    bench = await start(await serve(echo))
    client = await bench.client()
    ways = bench.gate._server.handler.__self__._ways
    await client.send(
        b"".join(b"GET /v1/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(WAYS + 9))
    )
    for _ in range(WAYS + 9):
        assert (await client.answer("GET"))[0] == 200
    assert len(ways) <= WAYS
    await client.ask("/v1/" + "x" * LONGEST_WAY, method="GET")
    assert (await client.answer("GET"))[0] == 200
    assert sum(map(len, next(reversed(ways)))) < LONGEST_WAY
