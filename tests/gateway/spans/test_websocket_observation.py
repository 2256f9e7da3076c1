"""A websocket is heard as it passes, and never harmed."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.model import (
    Fact,
    JobNote,
    JobState,
    Outcome,
    SpanClosed,
    SpanFirstByte,
    SpanOpened,
    Task,
    WorkClass,
)
from joulegate.protocols.comfyui import Plugin
from joulegate.protocols.openai import Plugin as OpenAI
from joulegate.testing.upstream import Peer

EVENTS = [
    {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}, "sid": "c"}},
    {"type": "execution_start", "data": {"prompt_id": "p", "timestamp": 1_700_000_000_000}},
    {"type": "executing", "data": {"node": "3", "display_node": "3", "prompt_id": "p"}},
    {"type": "progress", "data": {"value": 1, "max": 20, "prompt_id": "p", "node": "3"}},
    {"type": "execution_success", "data": {"prompt_id": "p", "timestamp": 1_700_000_005_000}},
]
PREVIEW = (1).to_bytes(4) + (2).to_bytes(4) + bytes(range(256)) * 400


async def _site(stack: Any, handler: Any, compress: bool) -> str:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=compress)
        await ws.prepare(request)
        await handler(ws)
        return ws

    app = web.Application()
    for path in ("/ws", "/v1/realtime"):
        app.router.add_get(path, serve)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.append(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.fixture
async def site() -> Any:
    """Serves a websocket that a test speaks over."""
    stack: list[Any] = []

    async def start(handler: Any, *, compress: bool = False) -> UpstreamConfig:
        return UpstreamConfig("comfy", (endpoint(await _site(stack, handler, compress)),))

    yield start
    for close in stack:
        await close()


@pytest.mark.parametrize("compress", [False, True])
async def test_what_passes_is_told_and_passes_as_it_is(start: Any, site: Any, compress: bool) -> None:
    """Texts, binary previews, pings; compressed or not."""

    async def speak(ws: web.WebSocketResponse) -> None:
        await ws.receive()
        for event in EVENTS:
            await ws.ping()
            await ws.send_json(event)
            await ws.send_bytes(PREVIEW)
        await ws.receive()

    bench = await start(await site(speak, compress=compress), protocols={"comfyui": Plugin()})
    heard: list[object] = []
    async with (
        ClientSession() as session,
        session.ws_connect(
            f"http://127.0.0.1:{bench.gate.port}/ws?clientId=c", compress=15 if compress else 0
        ) as ws,
    ):
        await ws.send_str(json.dumps({"type": "feature_flags", "data": {}}))
        while len(heard) < 2 * len(EVENTS):
            message = await ws.receive(timeout=10)
            heard.append(message.json() if message.type is WSMsgType.TEXT else message.data)
    assert heard == [part for event in EVENTS for part in (event, PREVIEW)]
    closed = await bench.events.closed()
    assert not closed.parse_failed
    (opened,) = await bench.events.some(type(await bench.events.opened()))
    assert opened.work is WorkClass.ADMIN
    states = [(note.sign.state, note.sign.node, note.sign.job) for note in bench.events.of(JobNote)]
    assert states == [
        (JobState.RUNNING, None, "p"),
        (JobState.RUNNING, "3", "p"),
        (JobState.DONE, None, "p"),
    ]


async def test_each_answer_of_a_session_is_a_request_of_its_own(start: Any, site: Any) -> None:
    """With its own beginning, end and usage; the session itself is no work. One that is cut is told so."""

    async def speak(ws: web.WebSocketResponse) -> None:
        await ws.send_json({"type": "session.created", "session": {"model": "gpt-realtime"}})
        for name in ("r1", "r2"):
            await ws.receive()
            await ws.send_json(
                {"type": "response.created", "response": {"id": name, "status": "in_progress"}}
            )
            await ws.send_json({"type": "response.output_text.delta", "response_id": name, "delta": "Hi"})
            if name == "r1":
                usage = {"input_tokens": 12, "output_tokens": 3}
                done = {"id": name, "status": "completed", "usage": usage}
                await ws.send_json({"type": "response.done", "response": done})
        await ws.receive()

    bench = await start(await site(speak), protocols={"openai": OpenAI()})
    url = f"http://127.0.0.1:{bench.gate.port}/v1/realtime?model=gpt-realtime"
    async with ClientSession() as session, session.ws_connect(url) as ws:
        await ws.receive(timeout=10)
        for parts in (3, 2):
            await ws.send_json({"type": "response.create"})
            for _ in range(parts):
                await ws.receive(timeout=10)
    ends = {event.id: event for event in await bench.events.some(SpanClosed, 3)}
    whole, first, second = bench.events.of(SpanOpened)
    assert (whole.work, first.work, first.task) == (WorkClass.ADMIN, WorkClass.INFERENCE, Task.CHAT)
    assert (first.asked.model, first.upstream) == ("gpt-realtime", "comfy")
    facts = ends[first.id].facts
    assert (facts.prompt_tokens, facts.completion_tokens) == (Fact(12), Fact(3))
    assert ends[first.id].t <= second.t
    assert [ends[one.id].outcome for one in (first, second)] == [Outcome.OK, Outcome.CANCELLED]
    assert {event.id for event in bench.events.of(SpanFirstByte)} == {first.id, second.id}


async def test_bytes_that_are_no_websocket_pass_and_are_counted(start: Any, serve: Any) -> None:
    """After the upgrade anything may come: it goes on as it is, and nobody listens any more."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n\xff\xffnonsense"
        )
        while data := await peer.read():
            await peer.send(data)

    bench = await start(await serve(script), protocols={"comfyui": Plugin()})
    client = await bench.client()
    await client.send(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await client.head()
    assert await client.reader.readexactly(10) == b"\xff\xffnonsense"
    await client.send(b"more")
    assert await client.reader.readexactly(4) == b"more"
    client.close()
    closed = await bench.events.closed()
    assert isinstance(closed, SpanClosed)
    assert closed.parse_failed
    assert bench.gate.report().parse_failures == 1
    await asyncio.sleep(0)
