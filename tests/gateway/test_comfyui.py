"""A server that speaks as ComfyUI does behind a gate: by any of its signs the meter knows when a job ran."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.gateway.jobs import job_tracker as jobs
from joulegate.meter.requests.job_joiner import JobJoiner
from joulegate.model import JobNote, JobState, Outcome, SpanClosed, SpanJob
from joulegate.protocols.comfyui import Plugin
from joulegate.testing.comfyui.server import Server
from joulegate.units import Nanoseconds

STEPS = 30
GRAPH = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 1, "steps": STEPS, "model": ["4", 0], "positive": ["6", 0], "negative": ["6", 0],
            "latent_image": ["5", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
}  # fmt: skip


@pytest.fixture(params=["new", "old"])
async def comfy(request: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UpstreamConfig]:
    """One with the jobs API and one from before it; the gate asks 25 times as often as usual."""
    monkeypatch.setattr(jobs, "FIRST", Nanoseconds(jobs.FIRST // 25))
    runner = web.AppRunner(Server(jobs_api=request.param == "new").application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield UpstreamConfig("comfy", (endpoint(f"http://127.0.0.1:{runner.addresses[0][1]}"),))
    await runner.cleanup()


async def ended(bench: Any, prompt: dict[str, Any]) -> tuple[list[Any], SpanClosed]:
    """Submit a prompt, wait until the gate knows its end; give its request's events as the meter has them."""
    url = f"http://127.0.0.1:{bench.gate.port}/prompt"
    async with ClientSession() as session, session.post(url, json=prompt) as answer:
        job = (await answer.json())["prompt_id"]
    async with asyncio.timeout(60):
        while not any(note.sign.state.outcome and note.sign.job == job for note in bench.events.of(JobNote)):
            await asyncio.sleep(0.01)
    joiner = JobJoiner()
    joined = [event for told in bench.events.all for _, event in joiner.event("gate", told)]
    closed = next(event for event in joined if isinstance(event, SpanClosed) and event.job == job)
    return [event for event in joined if event.id == closed.id], closed


async def test_a_job_without_a_listener_is_followed(start: Any, comfy: UpstreamConfig) -> None:
    """The gate asks; the server's own times say when it ran, its graph what it drew."""
    bench = await start(comfy, protocols={"comfyui": Plugin()})
    events, closed = await ended(bench, {"prompt": GRAPH})
    running = [event for event in events if isinstance(event, SpanJob) and event.state is JobState.RUNNING]
    assert events[0].t <= running[-1].t < closed.t
    assert (closed.outcome, closed.model, closed.status) == (Outcome.OK, "sd15.safetensors", 200)
    assert closed.facts.steps is not None
    assert closed.facts.steps.value == STEPS
    again, repeated = await ended(bench, {"prompt": GRAPH})
    assert repeated.facts.steps is not None
    assert repeated.facts.steps.value == 0, "all of it was cached"
    assert repeated.t - again[0].t < closed.t - events[0].t


async def test_a_listener_hears_all_and_so_does_the_gate(start: Any, comfy: UpstreamConfig) -> None:
    """Its socket passes with every preview; the steps of the job are known by their times."""
    bench = await start(comfy, protocols={"comfyui": Plugin()})
    url = f"http://127.0.0.1:{bench.gate.port}/ws?clientId=me"
    async with ClientSession() as session, session.ws_connect(url, max_msg_size=0) as ws:
        await ws.receive(timeout=10)
        _, closed = await ended(bench, {"prompt": GRAPH, "client_id": "me"})
        previews, last = 0, ""
        while last != "execution_success":
            message = await ws.receive(timeout=10)
            previews += message.type is WSMsgType.BINARY
            last = json.loads(message.data)["type"] if message.type is WSMsgType.TEXT else last
    assert previews == STEPS
    times = {stage.node.kind: stage.time for stage in closed.stages}
    assert times["KSampler"] == max(times.values())
    assert {"CheckpointLoaderSimple", "KSampler", "VAEDecode", "SaveImage"} <= times.keys()
