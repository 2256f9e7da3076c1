"""An upstream and its replicas: which one gets a request, which none, and what a reload changes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import Endpoint
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.policy.settings import GateSettings
from joulegate.gateway.upstreams import SPARE_REQUESTS, Upstream, Upstreams
from joulegate.model import Outcome
from joulegate.ports.servers import ServerIdentity
from joulegate.testing.upstream import Peer, ScriptedUpstream
from joulegate.units import NANO, Nanoseconds

PLACES = tuple(Endpoint("http", "127.0.0.1", port) for port in (1, 2, 3))


class Nobody:
    """Hears nothing."""

    def emit(self, event: object) -> None: ...


class Bench:
    """The upstreams of a gate whose clock stands where the test puts it."""

    def __init__(self, *targets: UpstreamConfig) -> None:
        self.now = 0
        settings = GateSettings(targets)
        self.context = GateContext(settings, Nobody(), lambda: Nanoseconds(self.now), lambda: Nanoseconds(0))
        self.upstreams = Upstreams(targets, self.context, {})

    @property
    def one(self) -> Upstream:
        """The first upstream."""
        return next(iter(self.upstreams))

    def chosen(self, count: int, **request: Any) -> list[str]:
        """Return which replicas get requests that all stay under way."""
        names = []
        for _ in range(count):
            replica = self.one.choose(**request)
            assert replica
            self.one.enter(replica)
            names.append(replica.name[-1])
        return names


@pytest.fixture
async def bench() -> Any:
    """Makes one; it is closed with the test."""
    made: list[Bench] = []

    def make(*targets: UpstreamConfig) -> Bench:
        made.append(Bench(*targets))
        return made[-1]

    yield make
    for one in made:
        await one.context.tasks.end()
        one.context.hangups.close()


Make = Callable[..., Bench]


def keys(count: int) -> Iterator[bytes]:
    return (b"key %d" % number for number in range(count))


# --- which replica -----------------------------------------------------------------------------------


async def test_requests_spread_by_what_is_in_flight(bench: Make) -> None:
    """Each goes to the least busy one, and by turns where they are alike."""
    made = bench(UpstreamConfig("u", PLACES))
    assert Counter(made.chosen(9)) == {"1": 3, "2": 3, "3": 3}
    second = made.one.replicas[1]
    for _ in range(2):
        made.one.leave(second)
    assert made.chosen(2) == ["2", "2"]
    assert (made.one.in_flight, second.in_flight) == (9, 3)


async def test_turns_go_round_when_nothing_is_in_flight(bench: Make) -> None:
    """One request at a time still reaches all of them."""
    one = bench(UpstreamConfig("u", PLACES)).one
    assert len({replica.name for _ in range(3) if (replica := one.choose())}) == 3


async def test_a_bound_holds_for_all_replicas_together(bench: Make) -> None:
    """``max_in_flight`` is the upstream's."""
    made = bench(UpstreamConfig("u", PLACES, max_in_flight=2))
    first, second, _ = made.one.replicas
    assert [made.one.enter(replica) for replica in (first, second, second)] == [True, True, False]
    made.one.leave(first)
    assert made.one.enter(second)


async def test_without_a_bound_all_are_let_in(bench: Make) -> None:
    """There is no hidden bound."""
    made = bench(UpstreamConfig("u", PLACES))
    assert all(made.one.enter(made.one.replicas[0]) for _ in range(10_000))


async def test_the_same_key_goes_to_the_same_replica(bench: Make) -> None:
    """And one more replica takes its share of the keys; all others stay where they were."""
    two, three = bench(UpstreamConfig("u", PLACES[:2])).one, bench(UpstreamConfig("u", PLACES)).one
    before = {key: two.choose(key=key) for key in keys(300)}
    assert {key: two.choose(key=key) for key in keys(300)} == before
    after = {key: three.choose(key=key) for key in keys(300)}
    moved = [key for key in before if after[key].name != before[key].name]  # type: ignore[union-attr]
    assert all(after[key].name == "127.0.0.1:3" for key in moved)  # type: ignore[union-attr]
    assert 60 < len(moved) < 140


async def test_a_far_busier_replica_is_not_preferred(bench: Make) -> None:
    """A prompt that everybody shares does not pile up on one server."""
    made = bench(UpstreamConfig("u", PLACES))
    counts = Counter(made.chosen(3 * SPARE_REQUESTS, key=b"shared"))
    assert len(counts) == 3
    assert max(counts.values()) <= 2 * min(counts.values()) + SPARE_REQUESTS + 1
    assert max(counts.values()) > len(PLACES) + 1, "it is preferred nevertheless"


async def test_the_key_is_a_header_or_the_beginning_of_the_prompt(bench: Make) -> None:
    """What stands before the prompt in the body does not matter, nor what comes late in it."""
    header = bench(UpstreamConfig("u", PLACES, affinity="header:X-Session")).one
    assert header.affinity_key({b"x-session": b"s"}, b"") == b"s"
    assert header.affinity_key({}, b"") is None
    prompt = bench(UpstreamConfig("u", PLACES, affinity="prompt")).one
    long = b"x" * 2000
    one = prompt.affinity_key({}, b'{"seed":1,"messages":[' + long + b"1")
    assert one == prompt.affinity_key({}, b'{"seed":2, "messages" :[' + long + b"2")
    assert one != prompt.affinity_key({}, b'{"messages":[y')
    assert prompt.affinity_key({}, b"{}") is None
    assert bench(UpstreamConfig("u", PLACES)).one.affinity_key({}, b'{"prompt":"x"}') is None


async def test_a_replica_that_failed_is_left_alone_for_a_while(bench: Make) -> None:
    """Then a single request finds out whether it answers again."""
    made = bench(UpstreamConfig("u", PLACES))
    first = made.one.replicas[0]
    made.one.failed(first, Outcome.UPSTREAM_RESET, "reset")
    assert set(made.chosen(6)) == {"2", "3"}
    made.now += NANO
    assert made.chosen(3).count("1") == 1
    first.answered()
    assert made.chosen(2) == ["1", "1"]


async def test_one_is_always_tried(bench: Make) -> None:
    """With all of them out, it is the one whose time ends first; a second try is not made."""
    made = bench(UpstreamConfig("u", PLACES))
    for replica in reversed(made.one.replicas):
        made.now += 1
        replica.unreached("gone")
    tried = made.one.choose()
    assert tried is made.one.replicas[2]
    assert made.one.choose(tried={tried}) is None
    alone = bench(UpstreamConfig("u", PLACES[:1])).one
    alone.replicas[0].unreached("gone")
    assert alone.choose() is alone.replicas[0]


# --- which model ---------------------------------------------------------------------------------------


def serving(upstream: Upstream, *models: tuple[str, ...]) -> None:
    for replica, listed in zip(upstream.replicas, models, strict=True):
        replica.identity = ServerIdentity("vllm", models=listed)
    upstream.learned()


async def test_a_replica_with_another_model_is_told_and_not_used(bench: Make) -> None:
    """It is logged, shown, and gets only what names its model; what no one lists goes to the others."""
    made = bench(UpstreamConfig("u", PLACES))
    with structlog.testing.capture_logs() as logs:
        serving(made.one, ("a",), ("a",), ("b",))
        made.one.learned()
    assert [entry["event"] for entry in logs] == ["replica.other_model"]
    assert made.one.report().replicas[2].note == "serves b in place of a"
    assert set(made.chosen(6, model="a")) == {"1", "2"}
    assert set(made.chosen(6, model="unknown")) == {"1", "2"}
    assert set(made.chosen(6)) == {"1", "2"}
    assert set(made.chosen(6, model="b")) == {"3"}
    serving(made.one, ("a",), ("a",), ("a", "b"))
    assert made.one.report().replicas[2].note == ""


async def test_the_configured_model_says_which_one_is_odd(bench: Make) -> None:
    """Not the majority, unless no replica lists what is configured: some servers take any name."""
    made = bench(UpstreamConfig("u", PLACES, model="b"))
    serving(made.one, ("a",), ("a",), ("b",))
    assert [one.note for one in made.one.replicas] == ["serves a in place of b"] * 2 + [""]
    alias = bench(UpstreamConfig("u", PLACES, models=("mine",)))
    serving(alias.one, ("a",), ("a",), ())
    assert [one.note for one in alias.one.replicas] == ["", "", ""]
    assert set(alias.chosen(6, model="mine")) == {"1", "2", "3"}


async def test_an_upstream_of_one_server_is_not_compared(bench: Make) -> None:
    """Nobody could take its place."""
    made = bench(UpstreamConfig("u", PLACES[:1], model="b"))
    serving(made.one, ("a",))
    assert made.one.report().replicas[0].note == ""


async def test_the_report_is_that_of_all_replicas(bench: Make) -> None:
    """It is up while one is."""
    made = bench(UpstreamConfig("u", PLACES))
    assert made.one.report().up is None
    serving(made.one, ("a",), ("a", "b"), ())
    made.one.replicas[0].unreached("gone")
    assert made.one.report().up is False
    made.one.replicas[1].reached()
    report = made.one.report()
    assert (report.up, report.kind, report.models) == (True, "vllm", ("a", "b"))
    assert [(one.name, one.up) for one in report.replicas] == [
        ("127.0.0.1:1", False),
        ("127.0.0.1:2", True),
        ("127.0.0.1:3", None),
    ]


# --- what is remembered ----------------------------------------------------------------------------------


async def test_other_failures_are_logged_at_most_once_a_second(bench: Make) -> None:
    """A storm of failures is not a storm of lines."""
    made = bench(UpstreamConfig("u", PLACES[:1]))
    with structlog.testing.capture_logs() as logs:
        for tenth in range(25):
            made.now = tenth * NANO // 10
            made.one.failed(made.one.replicas[0], Outcome.UPSTREAM_TIMEOUT, "")
    assert [entry["event"] for entry in logs] == ["request.failed"] * 3


async def test_a_server_that_comes_back_may_be_asked_for_usage_again(bench: Make) -> None:
    """What it refused before it was lost is forgotten when it is reached; the refusal is logged once."""
    one = bench(UpstreamConfig("u", PLACES[:1])).one
    with structlog.testing.capture_logs() as logs:
        one.usage_refused("r")
        one.usage_refused("r")
    assert [entry["event"] for entry in logs] == ["usage.refused"]
    one.replicas[0].unreached("refused")
    assert one.usage_refusals.knows("r")
    one.replicas[0].reached()
    assert not one.usage_refusals.knows("r")


async def test_a_new_kind_makes_earlier_decisions_void(bench: Make) -> None:
    """Its protocols are asked in another order from now on."""
    made = bench(UpstreamConfig("u", PLACES[:1]))
    before = made.upstreams.version
    serving(made.one, ("a",))
    assert made.upstreams.version == before + 1
    serving(made.one, ("b",))
    assert made.upstreams.version == before + 1


# --- reload ----------------------------------------------------------------------------------------------


async def test_what_stays_is_the_same_object(bench: Make) -> None:
    """One that did not change keeps health and counts; a new one begins, one that went is closed."""
    made = bench(UpstreamConfig("a", PLACES[:1]), UpstreamConfig("b", PLACES[1:2], path="/b"))
    a, b = made.upstreams
    a.enter(a.replicas[0])
    version = made.upstreams.version
    made.upstreams.replace((UpstreamConfig("a", PLACES[:1]), UpstreamConfig("c", PLACES[2:], path="/c")))
    again, c = made.upstreams
    assert again is a
    assert (a.in_flight, c.name, made.upstreams.get("b")) == (1, "c", None)
    assert made.upstreams.version > version
    assert made.upstreams.routes.candidates("/b", "") == (a.target,)
    assert b.replicas[0].pool not in made.context.watchdog._watched


async def test_replicas_that_stay_keep_what_they_have(bench: Make) -> None:
    """One is added, one is taken away while it works: its request is counted to its end."""
    made = bench(UpstreamConfig("u", PLACES[:2]))
    first, second = made.one.replicas
    made.one.enter(second)
    made.upstreams.replace((UpstreamConfig("u", (PLACES[0], PLACES[2]), model="m"),))
    assert made.one.replicas[0] is first
    assert [replica.endpoint for replica in made.one.replicas] == [PLACES[0], PLACES[2]]
    assert first.target.model == "m"
    assert set(made.chosen(4)) == {"1", "3"}
    made.one.leave(second)
    assert (made.one.in_flight, second.in_flight) == (4, 0)


async def test_a_new_kind_is_looked_at_anew(bench: Make) -> None:
    """What was found out before was found by another question."""
    made = bench(UpstreamConfig("u", PLACES[:1]))
    serving(made.one, ("a",))
    assert made.one.kind == "vllm"
    made.upstreams.replace((UpstreamConfig("u", PLACES[:1], kind="sglang"),))
    assert made.one.kind == "sglang"


# --- with servers ------------------------------------------------------------------------------------------


def places_of(*servers: ScriptedUpstream) -> tuple[Endpoint, ...]:
    return tuple(Endpoint("http", "127.0.0.1", server.port) for server in servers)


def counting(name: bytes, seen: list[bytes]) -> Callable[[Peer], Any]:
    async def script(peer: Peer) -> None:
        while await peer.request():
            seen.append(name)
            await peer.answer(name)

    return script


async def test_requests_reach_all_replicas_and_say_which(start: Any, serve: Any) -> None:
    """The event of a request names the server, so that its energy can be looked for there."""
    seen: list[bytes] = []
    servers = [await serve(counting(name, seen)) for name in (b"a", b"b")]
    places = places_of(*servers)
    bench = await start(UpstreamConfig("u", places))
    client = await bench.client()
    for _ in range(4):
        await client.ask()
        assert (await client.answer())[0] == 200
    assert Counter(seen) == {b"a": 2, b"b": 2}
    await bench.events.opened(4)
    named = Counter(event.replica for event in bench.events.of(type(await bench.events.opened())))
    assert named == {place.address(): 2 for place in places}


async def test_a_replica_that_cannot_be_reached_costs_no_request(start: Any, serve: Any) -> None:
    """Nothing was begun there: the request goes to another one, and it is begun once."""
    seen: list[bytes] = []
    here = await serve(counting(b"here", seen))
    async with ScriptedUpstream(counting(b"gone", seen)) as gone:
        places = places_of(gone, here)
    bench = await start(UpstreamConfig("u", places))
    client = await bench.client()
    for size in (0, 10, 100_000):
        await client.ask(body=b"x" * size)
        assert (await client.answer())[2] == b"here"
    assert seen == [b"here"] * 3
    assert (await bench.events.opened()).replica == places[1].address()
    assert bench.gate.report().replicas_in_flight == tuple(("u", one.address(), 0) for one in places)


async def test_a_request_that_may_have_begun_is_never_sent_elsewhere(start: Any, serve: Any) -> None:
    """A server that dies with the request gets a 502 for it; the other one never sees it."""
    seen: list[bytes] = []

    def dying(name: bytes) -> Callable[[Peer], Any]:
        async def script(peer: Peer) -> None:
            if await peer.request():
                seen.append(name)
                peer.reset()

        return script

    servers = [await serve(dying(name)) for name in (b"a", b"b")]
    places = places_of(*servers)
    bench = await start(UpstreamConfig("u", places))
    for count in (1, 2):
        client = await bench.client()
        await client.ask(body=b"{}")
        assert (await client.answer())[0] == 502
        assert len(seen) == count


async def test_all_replicas_away_is_said_in_the_callers_dialect(start: Any, known: Any) -> None:
    """The answer tells what was tried."""
    bench = await start(UpstreamConfig("u", PLACES), protocols={"known": known(dialect="anthropic")})
    client = await bench.client()
    await client.ask()
    status, _, body = await client.answer()
    assert status == 502
    assert body.startswith(b'{"type": "error"')
    assert b"no other replica of u" in body


async def test_a_reload_cuts_no_stream(start: Any, serve: Any) -> None:
    """The replica that goes finishes its answer; new requests go elsewhere."""
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await release.wait()
        await peer.send(b"cd")

    seen: list[bytes] = []
    old, new = await serve(slow), await serve(counting(b"new", seen))
    places = places_of(old, new)
    bench = await start(UpstreamConfig("u", places[:1]))
    client, other = await bench.client(), await bench.client()
    await client.ask()
    status, fields = await client.head()
    bench.gate._upstreams.replace((UpstreamConfig("u", places[1:]),))
    await other.ask()
    assert (await other.answer())[2] == b"new"
    release.set()
    assert (status, await client.body(status, fields)) == (200, b"abcd")
