"""What becomes of requests whose client has left."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from joulegate import clock
from joulegate.config import UpstreamConfig
from joulegate.gateway.http.background_tasks import BackgroundTasks
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.servers.disconnect_monitor import GRACE, HELD, PACE, SLOWEST, DisconnectMonitor
from joulegate.model import Outcome
from joulegate.ports.servers import AbandonedRequest
from joulegate.testing.upstream import Peer, Script, ScriptedUpstream
from joulegate.units import NANO, Nanoseconds

Serve = Callable[[Script], Awaitable[ScriptedUpstream]]
CHAT = AbandonedRequest("/v1/chat/completions", {})


class Bench:
    """An aftercare of a server that works on as many requests as the test says."""

    def __init__(self) -> None:
        self.now = 0
        self.running = 0
        self.others = 0
        self.slots = True
        self.asked: list[bytes] = []
        self.ended: asyncio.Queue[tuple[str, int, Outcome]] = asyncio.Queue()
        self.verdicts: list[bool] = []
        self.slept: list[float] = []
        self.waits: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self.care: DisconnectMonitor

    async def script(self, peer: Peer) -> None:
        while request := await peer.request():
            self.asked.append(request.line.rsplit(b" ", 1)[0])
            if b"/sdapi/v1/progress" in request.target:
                state = {"job_count": self.running, "job": "scripts_txt2img"}
                await peer.answer(json.dumps({"state": state}).encode())
            elif self.slots:
                await peer.answer(json.dumps([{"is_processing": True}] * self.running).encode())
            else:
                await peer.answer(b"{}", status="501 Not Implemented")

    async def sleep(self, wait: float) -> None:
        self.slept.append(wait)
        event = asyncio.Event()
        self.waits.put_nowait(event)
        await event.wait()

    async def rests(self) -> None:
        """Wait until the server has been looked at, and let the next look be taken after this."""
        self._next = await self.waits.get()

    def later(self, seconds: float) -> None:
        """Let time pass and the next look be taken."""
        self.now += round(seconds * NANO)
        self._next.set()

    def leave(self, name: str = "a", kind: str = "llamacpp", left: AbandonedRequest = CHAT) -> bool:
        def departure(t: Nanoseconds, outcome: Outcome) -> None:
            self.ended.put_nowait((name, t, outcome))

        return self.care.take(kind, left, Nanoseconds(self.now), lambda: departure)


@pytest.fixture
async def bench(serve: Serve, target: Callable[..., UpstreamConfig], request: pytest.FixtureRequest) -> Bench:
    made = Bench()
    upstream = await serve(made.script)
    made.care = DisconnectMonitor(
        Pool(target(upstream).endpoints[0], clock.monotonic, Nanoseconds(NANO)),
        BackgroundTasks(asyncio.get_running_loop()),
        lambda: Nanoseconds(made.now),
        lambda: made.others,
        made.verdicts.append,
        alone=getattr(request, "param", True),
        sleep=made.sleep,
    )
    return made


async def test_a_request_ends_when_its_server_has_stopped(bench: Bench) -> None:
    """The span lasts until the gauge has fallen to the requests that are still wanted."""
    bench.running, bench.others = 3, 2
    assert bench.leave()
    await bench.rests()
    assert bench.ended.empty()
    bench.running = 2
    bench.later(0.1)
    assert await bench.ended.get() == ("a", NANO // 10, Outcome.CANCELLED)
    assert bench.verdicts == [False]
    assert bench.asked == [b"GET /slots"] * 2


async def test_a_server_that_works_on_is_found_out(bench: Bench) -> None:
    """Work that lasts beyond the grace is the server's fault: it is said, and booked to its real end."""
    bench.running = 1
    bench.leave()
    await bench.rests()
    bench.later(GRACE / NANO)
    await bench.rests()
    assert bench.verdicts == [True]
    assert bench.ended.empty(), "it is still at work"
    bench.running = 0
    bench.later(5)
    assert await bench.ended.get() == ("a", GRACE + 5 * NANO, Outcome.OVERRAN)


async def test_what_never_ends_is_given_up(bench: Bench) -> None:
    """Something else may keep the server busy: after a time nothing more is booked to the request."""
    bench.running = 1
    bench.leave()
    await bench.rests()
    bench.later(HELD / NANO)
    assert await bench.ended.get() == ("a", HELD, Outcome.OVERRAN)


async def test_the_server_is_asked_less_and_less_often(bench: Bench) -> None:
    """At first ten times a second, at last every two seconds, and not at all once all have ended."""
    bench.running = 1
    bench.leave()
    for _ in range(7):
        await bench.rests()
        bench.later(0.1)
    await bench.rests()
    assert bench.slept[:6] == [PACE, 2 * PACE, 4 * PACE, 8 * PACE, 16 * PACE, SLOWEST]
    bench.running = 0
    bench.later(0.1)
    await bench.ended.get()
    asked = len(bench.asked)
    bench.leave("b")
    await bench.ended.get()
    assert len(bench.asked) == asked + 1


async def test_many_that_leave_at_once_are_watched_together(bench: Bench) -> None:
    """A thousand clients that leave cost as many looks as one."""
    bench.running = 1_000
    for number in range(1_000):
        assert bench.leave(str(number))
    await bench.rests()
    bench.running = 0
    bench.later(0.1)
    ends = [await bench.ended.get() for _ in range(1_000)]
    assert len({name for name, _, _ in ends}) == 1_000
    assert len(bench.asked) == 2


async def test_a_server_that_does_not_say_is_believed(bench: Bench) -> None:
    """Without a figure the request ends when its client left, and nothing is said of the server."""
    bench.slots = False
    bench.now = 7
    bench.leave()
    assert await bench.ended.get() == ("a", 7, Outcome.CANCELLED)
    assert bench.verdicts == []
    assert not bench.leave(kind="ollama"), "nothing can be done: the exchange closes its span itself"


@pytest.mark.parametrize("bench", [False], indirect=True, ids=["several gates"])
async def test_several_gates_accuse_nobody(bench: Bench) -> None:
    """What runs may be another gate's request: no verdict, and the books end when the client left."""
    bench.running = 1
    bench.leave()
    await bench.rests()
    bench.later(GRACE / NANO)
    assert await bench.ended.get() == ("a", 0, Outcome.CANCELLED)
    assert bench.verdicts == []


async def test_a_kept_conversation_is_deleted(bench: Bench) -> None:
    """The call that ends it is sent once, before the first look."""
    bench.running = 1
    bench.leave(left=AbandonedRequest("/v1/chat/completions", {b"x-conversation-id": b"c"}))
    await bench.rests()
    bench.later(0.1)
    await bench.rests()
    assert bench.asked == [b"DELETE /v1/stream?conv_id=c", b"GET /slots", b"GET /slots"]
    bench.care.end()


@pytest.mark.parametrize(("others", "interrupted"), [(0, True), (1, False)])
async def test_a_picture_is_interrupted_only_if_it_is_the_one_that_runs(
    bench: Bench, others: int, interrupted: bool
) -> None:
    """With another request there, it may be that one's work that would be stopped."""
    bench.running, bench.others = 1, others
    bench.leave(kind="a1111", left=AbandonedRequest("/sdapi/v1/txt2img", {}))
    if others:
        await bench.ended.get()
    else:
        await bench.rests()
    assert (b"POST /sdapi/v1/interrupt" in bench.asked) is interrupted
    bench.care.end()


async def test_the_end_of_the_gate_closes_what_is_held(bench: Bench) -> None:
    """No span stays open behind a gate that ends."""
    bench.running = 1
    bench.leave()
    await bench.rests()
    bench.now = 5
    bench.care.end()
    assert bench.ended.get_nowait() == ("a", 5, Outcome.CANCELLED)
