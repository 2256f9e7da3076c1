"""Jobs: a request that was answered in milliseconds carries the energy of its run."""

import asyncio
import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from aiohttp import ClientSession, WSMsgType

from joulegate.testing.nvml import Control, Gpu

pytestmark = pytest.mark.e2e

CONFIG = """
[attribution]
settle = "2 s"
[[upstream]]
name = "comfy"
url = "{url}"
kind = "image"
gpus = [0]
"""
CLOSE = 0.3
"""A job's energy beside what the counter drew while it ran: that follows the work by some 20 to 50 ms."""
STEPS = 48
RAN = ("listened", "polled", "silent", "interrupted", "first", "second")


def config(comfy: "Comfy") -> str:
    return CONFIG.format(url=comfy.url)


class Comfy(NamedTuple):
    """The running image server."""

    url: str
    pid: int


@pytest.fixture
def comfy(free_port: Any, process: Any, tmp_path: Path, request: Any) -> Iterator[Comfy]:
    """A server that speaks as ComfyUI does; a test may ask for one from before the jobs API."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "joulegate.testing.comfyui", "--port", url.rpartition(":")[2]]
    command += ["--no-jobs-api"] if getattr(request, "param", None) == "old" else []
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with process(command, tmp_path / "comfy.log", f"{url}/system_stats", environment) as pid:
        yield Comfy(url, pid)


def graph(seed: int, *, steps: int = STEPS, side: int = 512) -> dict[str, Any]:
    """Give the graph of the documentation: text to image."""
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": side, "height": side, "batch_size": 2}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed, "steps": steps, "model": ["4", 0], "positive": ["6", 0],
                "negative": ["7", 0], "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
    }  # fmt: skip


def ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json"} if data else {}
    request = urllib.request.Request(url, data, fields)  # noqa: S310 (loopback only)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (loopback only)
        text = answer.read()
    return json.loads(text) if text else None


class Truth:
    """What the counter showed at each moment, to know what was drawn while the server says that it worked."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._seen: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Truth":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self._seen.append((time.time() * 1_000, self._control.counter(0)))

    def joules(self, start: float, end: float) -> float:
        """Give what was drawn from one wall-clock time in ms to another."""
        return (self._at(end) - self._at(start)) / 1e6

    def _at(self, t: float) -> int:
        return next(energy for seen, energy in self._seen if seen >= t)


class Client:
    """Submits jobs through joulegate, and learns from the server itself when they ran."""

    def __init__(self, proxy: str, server: str, eventually: Callable[..., Any]) -> None:
        self.proxy, self.server = proxy, server
        self.eventually = eventually
        self.posted: dict[str, float] = {}
        """Seconds that the POST of each job took."""

    def submit(self, graph: dict[str, Any], **more: Any) -> str:
        """Submit a job; give its id."""
        began = time.monotonic()
        job: str = ask(f"{self.proxy}/prompt", {"prompt": graph, **more})["prompt_id"]
        self.posted[job] = time.monotonic() - began
        return job

    def run(self, graph: dict[str, Any], during: Callable[[str], None] = lambda _: None, **more: Any) -> str:
        """Submit a job and wait for its end; ``during`` is called with its id at once."""
        job = self.submit(graph, **more)
        during(job)
        self.ran(job)
        return job

    def ran(self, job: str) -> tuple[float, float]:
        """Give when a job ran in ms by the server's clock; wait for its end."""
        entry = self.eventually(lambda: ask(f"{self.server}/history/{job}").get(job), f"{job} ends")
        told = [message["timestamp"] for _, message in entry["status"]["messages"]]
        return told[0], told[-1]


def polled(client: Client) -> Callable[[str], None]:
    """Give a client that polls the history through joulegate until the job has ended."""

    def during(job: str) -> None:
        client.eventually(lambda: ask(f"{client.proxy}/history/{job}").get(job), "the history has it")

    return during


def interrupted(client: Client, control: Control) -> Callable[[str], None]:
    """Give a client that stops its job in the middle: when it has drawn some joules."""

    def during(job: str) -> None:
        before = control.counter(0)
        client.eventually(lambda: control.counter(0) - before > 100e6 or None, "it works")
        ask(f"{client.proxy}/interrupt", {"prompt_id": job})

    return during


class Listener:
    """A client's websocket through joulegate, in a thread of its own."""

    def __init__(self, proxy: str, client_id: str) -> None:
        self._url = f"{proxy}/ws?clientId={client_id}"
        self._ready = threading.Event()
        self._over = threading.Event()
        self.previews = 0
        self.kinds: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Listener":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        async with ClientSession() as session, session.ws_connect(self._url, max_msg_size=0) as ws:
            self._ready.set()
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    event = json.loads(message.data)
                    self.kinds.append(event["type"])
                    if event["type"] == "executing" and event["data"]["node"] is None:
                        return
                elif message.type is WSMsgType.BINARY:
                    self.previews += 1


@pytest.mark.parametrize("comfy", ["new", pytest.param("old", marks=pytest.mark.nightly)], indirect=True)
def test_a_job_carries_the_energy_of_its_run(
    comfy: Comfy, joulegate: Any, library: Path, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """Whether its client listens, polls or is silent, over two gates; stopped; waiting; all of it cached."""
    control = Control(tmp_path / "gpus", [Gpu("GPU-0", watts=0)])
    first = control.counter(0)
    with ExitStack() as stack:
        running = stack.enter_context(joulegate(config(comfy), gates=2, env=control.environment(library)))
        client = Client(running.proxy, comfy.url, eventually)
        with control.follow(0, [comfy.pid], idle_watts=40, watts_per_core=200), Truth(control) as truth:
            with Listener(running.proxy, "me") as listener:
                jobs = {"listened": client.run(graph(1), client_id="me")}
            jobs["polled"] = client.run(graph(2), polled(client))
            jobs["silent"] = client.run(graph(3))
            jobs["interrupted"] = client.run(graph(4, steps=900), interrupted(client, control))
            jobs["cached"] = client.run(graph(3))
            jobs["first"], jobs["second"] = client.submit(graph(5)), client.run(graph(6))
            views = {
                name: eventually(lambda job=job: final(running, job), f"{name} is final")
                for name, job in jobs.items()
            }
        control.power(0, 0)
        drawn = control.counter(0) - first
        eventually(lambda: booked(running, drawn), "the books are those of the counter")
        joules = {name: truth.joules(*client.ran(job)) for name, job in jobs.items()}
    told = [(name, client.posted[jobs[name]], views[name]["duration_seconds"],
             views[name]["energy_joules"], joules[name]) for name in jobs]  # fmt: skip
    print("\njob, POST s, run s, joules, counter's joules:", *told, sep="\n")
    assert listener.previews == STEPS
    assert "execution_success" in listener.kinds
    assert all(client.posted[jobs[name]] < 0.2 * views[name]["duration_seconds"] for name in RAN)
    for name in RAN:
        assert views[name]["energy_joules"] == pytest.approx(joules[name], rel=CLOSE), name
    assert {name for name in jobs if views[name]["outcome"] != "ok"} == {"interrupted"}
    assert views["second"]["duration_seconds"] > 1.5 * views["first"]["duration_seconds"], "it waited"
    assert views["cached"]["energy_joules"] < 0.1 * views["silent"]["energy_joules"]
    assert views["cached"]["facts"]["steps"][0] == 0
    check_nodes(views["listened"])
    assert {view["model"] for view in views.values()} == {"sd15.safetensors"}


def test_a_job_outlives_a_meter_that_dies(
    comfy: Comfy, joulegate: Any, library: Path, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """The gates tell the next meter all that they heard; the job has one record, and the books are exact."""
    control = Control(tmp_path / "gpus", [Gpu("GPU-0", watts=0)])
    first = control.counter(0)

    def kill(job: str) -> None:
        eventually(lambda: ask(f"{comfy.url}/queue")["queue_running"] or None, f"{job} runs")
        (meter,) = (c for c in psutil.Process(running.pid).children() if c.cmdline()[3] == "meter")
        meter.kill()

    with ExitStack() as stack:
        running = stack.enter_context(joulegate(config(comfy), env=control.environment(library)))
        client = Client(running.proxy, comfy.url, eventually)
        with control.follow(0, [comfy.pid], idle_watts=40, watts_per_core=200), Truth(control) as truth:
            before = client.run(graph(1, steps=2))
            eventually(lambda: final(running, before), "the first job is final")
            job = client.run(graph(2, steps=150), kill)
            view = eventually(lambda: final(running, job), f"{job} is final")
        control.power(0, 0)
        drawn = control.counter(0) - first
        eventually(lambda: booked(running, drawn), "the books are those of the counter")
        totals = running.status()["totals"]
    joules = truth.joules(*client.ran(job))
    print("\njoules, counter's joules:", view["energy_joules"], joules)
    assert view["outcome"] == "ok"
    assert view["energy_joules"] == pytest.approx(joules, rel=CLOSE)
    assert sum(total["requests"] for total in totals if total["task"] == "image-generation") == 2


def final(running: Any, job: str) -> dict[str, Any] | None:
    view: dict[str, Any] | None = running.json(f"/v1/requests/{job}")
    return view if view and view["state"] == "final" else None


def booked(running: Any, drawn: int) -> bool | None:
    """Say whether all that was drawn is in the books; they balance at every moment."""
    (device,) = running.status()["devices"]
    unattributed = sum(energy for _, energy in device["unattributed"])
    assert device["requests"] + device["idle"] + unattributed == device["measured"]
    return True if device["measured"] == drawn else None


def check_nodes(view: dict[str, Any]) -> None:
    """The steps of the job share its energy, most of it the sampler's."""
    nodes = {node["kind"]: node for node in view["nodes"]}
    assert sum(node["joules"] for node in view["nodes"]) == pytest.approx(view["energy_joules"], rel=1e-9)
    assert nodes["KSampler"]["joules"] > 0.8 * view["energy_joules"]
    assert {"CheckpointLoaderSimple", "KSampler", "VAEDecode", "SaveImage"} <= nodes.keys()
