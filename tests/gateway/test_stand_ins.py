"""Servers that stand in for AUTOMATIC1111, ComfyUI and Triton, behind a real gate with all protocols."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import numpy as np
import pytest
from aiohttp import web

from joulegate import clock
from joulegate.app.protocols import protocols
from joulegate.config import UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.framing.pictures import size_in
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.servers.survey import look
from joulegate.model import Fact, FactSource, Outcome, SpanClosed, Task, TaskFacts, WorkClass
from joulegate.testing import triton
from joulegate.testing.a1111.server import Server
from joulegate.testing.comfyui import server as comfyui
from joulegate.units import NANO, Nanoseconds

Serve = Callable[[web.Application], Awaitable[UpstreamConfig]]
JSON = b"Content-Type: application/json\r\n"


def derived(number: int) -> Fact:
    return Fact(number, FactSource.DERIVED)


@pytest.fixture
async def behind() -> AsyncIterator[Serve]:
    """Serves applications until the test ends, and gives the target of each."""
    async with AsyncExitStack() as stack:

        async def begin(application: web.Application) -> UpstreamConfig:
            runner = web.AppRunner(application, shutdown_timeout=5)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            return UpstreamConfig("server", (endpoint(f"http://127.0.0.1:{runner.addresses[0][1]}"),))

        yield begin


async def test_a_picture_is_metered_by_what_the_server_drew(start: Any, behind: Serve) -> None:
    """Images, pixels, steps and model of AUTOMATIC1111's own answer, and the client gets its bytes."""
    bench = await start(await behind(Server().application()), protocols=protocols())
    client = await bench.client()
    wish = {"prompt": "a", "steps": 3, "width": 128, "height": 64, "n_iter": 2, "batch_size": 2}
    await client.ask("/sdapi/v1/txt2img", body=json.dumps(wish).encode(), fields=JSON)
    status, _, body = await client.answer()
    answer = json.loads(body)
    assert (status, len(answer["images"])) == (200, 4)
    assert {size_in(f'"{image}"'.encode()) for image in answer["images"]} == {(128, 64)}
    opened, closed = await bench.events.opened(), await bench.events.closed()
    assert (opened.protocol, opened.task, opened.asked.images) == ("a1111", Task.IMAGE_GENERATION, 4)
    assert closed.facts == TaskFacts(images=derived(4), pixels=derived(4 * 128 * 64), steps=derived(3))
    assert closed.model == "v1-5-pruned-emaonly"


async def test_a_second_pass_counts_by_its_area(start: Any, behind: Serve) -> None:
    """The pictures have the larger size; 4 steps at a quarter of it and 2 at the whole are worth 3."""
    bench = await start(await behind(Server().application()), protocols=protocols())
    client = await bench.client()
    wish = {"steps": 4, "width": 64, "height": 64, "enable_hr": True, "hr_second_pass_steps": 2}
    await client.ask("/sdapi/v1/txt2img", body=json.dumps(wish).encode(), fields=JSON)
    images = json.loads((await client.answer())[2])["images"]
    assert size_in(f'"{images[0]}"'.encode()) == (128, 128)
    facts = (await bench.events.closed()).facts
    assert (facts.pixels, facts.steps) == (derived(128 * 128), Fact(3, FactSource.ESTIMATED))


async def test_another_checkpoint_is_a_load_and_then_the_model(start: Any, behind: Serve) -> None:
    """Setting the option loads it; the answer names it."""
    bench = await start(await behind(Server().application()), protocols=protocols())
    client = await bench.client()
    await client.ask("/sdapi/v1/options", body=b'{"sd_model_checkpoint":"xl"}', fields=JSON)
    await client.answer()
    assert (await bench.events.opened()).work is WorkClass.MODEL_LOAD
    await client.ask("/sdapi/v1/txt2img", body=b'{"steps":1,"width":8,"height":8}', fields=JSON)
    await client.answer()
    assert (await bench.events.closed(2)).model == "xl"


async def test_a_client_that_leaves_stops_nothing_but_interrupting_does(
    start: Any, behind: Serve, soon: Any
) -> None:
    """As on AUTOMATIC1111: the span ends as cancelled, the server draws on until it is interrupted."""
    server, going = Server(), threading.Semaphore(0)
    stepped: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def step() -> None:
        loop.call_soon_threadsafe(stepped.put_nowait, None)
        going.acquire(timeout=10)

    server.stepped = step
    bench = await start(await behind(server.application()), protocols=protocols())
    leaving, other = await bench.client(), await bench.client()
    await leaving.ask("/sdapi/v1/txt2img", body=b'{"steps":50,"width":8,"height":8}', fields=JSON)
    async with soon():
        await stepped.get()
        leaving.reset()
        assert (await bench.events.closed()).outcome is Outcome.CANCELLED
        going.release()
        await stepped.get()
        await other.ask("/sdapi/v1/progress", method="GET")
        state = json.loads((await other.answer("GET"))[2])["state"]
        assert (state["job"], state["sampling_step"], state["sampling_steps"]) == ("scripts_txt2img", 2, 50)
        await other.ask("/sdapi/v1/interrupt", body=b"{}", fields=JSON)
        assert (await other.answer())[0] == 200
        going.release()
        while not server.finished:
            await other.ask("/sdapi/v1/progress", method="GET")
            await other.answer("GET")
    assert stepped.empty()


async def test_a_gate_that_knows_the_server_interrupts_the_picture(
    start: Any, behind: Serve, soon: Any
) -> None:
    """The only picture that runs is stopped when its client leaves; its span ends when the server has."""
    server, going = Server(), threading.Semaphore(0)
    stepped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def step() -> None:
        loop.call_soon_threadsafe(stepped.set)
        going.acquire(timeout=10)

    server.stepped = step
    target = msgspec.structs.replace(await behind(server.application()), kind="a1111")
    bench = await start(target, protocols=protocols())
    leaving = await bench.client()
    await leaving.ask("/sdapi/v1/txt2img", body=b'{"steps":50,"width":8,"height":8}', fields=JSON)
    async with soon():
        await stepped.wait()
        leaving.reset()
        while not server.state.interrupted:
            await asyncio.sleep(0)
        assert bench.events.of(SpanClosed) == [], "its step is not over"
        going.release()
        closed = await bench.events.closed()
    assert (closed.outcome, server.finished) == (Outcome.CANCELLED, 1)
    assert closed.client_left is not None
    assert closed.t > closed.client_left
    assert bench.gate.report().upstreams[0].keeps_working is False


async def test_stand_ins_are_told_apart(behind: Serve) -> None:
    """Each is recognised as what it stands in for, by what it answers."""
    servers = {
        "a1111": Server().application(),
        "comfyui": comfyui.Server().application(),
        "triton": triton.Server().application(),
    }
    for kind, application in servers.items():
        pool = Pool((await behind(application)).endpoints[0], clock.monotonic, Nanoseconds(NANO))
        found = await look(pool)
        assert found
        assert (found.kind, found.ready) == (kind, True)


@pytest.mark.parametrize("binary", [False, True])
async def test_tensors_pass_as_they_are_and_their_batch_is_known(
    start: Any, behind: Serve, binary: bool
) -> None:
    """Triton's binary extension and plain JSON give the same numbers and the same facts."""
    bench = await start(await behind(triton.Server().application()), protocols=protocols())
    client = await bench.client()
    rows = np.arange(48, dtype=np.float32).reshape(3, 16) / 48
    described: dict[str, Any] = {"name": "INPUT", "shape": [3, 16], "datatype": "FP32"}
    described |= (
        {"parameters": {"binary_data_size": rows.nbytes}} if binary else {"data": rows.ravel().tolist()}
    )
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": binary}}).encode()
    fields = b"Inference-Header-Content-Length: %d\r\n" % len(head) if binary else JSON
    await client.ask("/v2/models/dense/infer", body=head + (rows.tobytes() if binary else b""), fields=fields)
    status, answered, body = await client.answer()
    size = int(answered.get("inference-header-content-length", len(body)))
    (output,) = json.loads(body[:size])["outputs"]
    numbers = np.frombuffer(body[size:], np.float32) if binary else np.array(output["data"], np.float32)
    expected = triton.dense({"INPUT": rows})["OUTPUT"]
    assert (status, output["shape"]) == (200, [3, 4])
    assert np.array_equal(numbers.reshape(3, 4), expected)
    closed = await bench.events.closed()
    assert closed.facts == TaskFacts(choices=Fact(3, FactSource.ESTIMATED))
    assert (await bench.events.opened()).asked.model == "dense"


async def test_a_text_in_parts_is_counted_by_its_parts(start: Any, behind: Serve) -> None:
    """``generate_stream`` has no terminator and counts each part."""
    bench = await start(await behind(triton.Server().application()), protocols=protocols())
    client = await bench.client()
    wish = {"text_input": "the cat", "max_tokens": 9, "return_num_output_tokens": True}
    await client.ask("/v2/models/words/generate_stream", body=json.dumps(wish).encode(), fields=JSON)
    _, _, body = await client.answer()
    parts = [json.loads(line.removeprefix(b"data: ")) for line in body.split(b"\n\n") if line]
    assert [part["text_output"] for part in parts] == triton.words("the cat", 9)
    closed = await bench.events.closed()
    assert closed.streamed
    assert closed.facts == TaskFacts(completion_tokens=derived(9))


async def test_an_error_of_the_server_passes(start: Any, behind: Serve) -> None:
    """A model that is not there."""
    bench = await start(await behind(triton.Server().application()), protocols=protocols())
    client = await bench.client()
    await client.ask("/v2/models/nothing/infer", body=b'{"inputs":[]}', fields=JSON)
    status, _, body = await client.answer()
    assert (status, json.loads(body)) == (400, {"error": "Request for unknown model: 'nothing' is not found"})
    assert (await bench.events.closed()).facts == TaskFacts()
