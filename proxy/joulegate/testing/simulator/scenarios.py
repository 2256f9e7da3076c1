"""Ready-made worlds: what runs, what is asked, how the sensor behaves.

``REGULAR`` ones are of the family that the step-clock model assumes; ``OUTSIDE`` ones break one assumption
each. Loads are set so that one run has a few hundred requests.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from joulegate.testing.simulator.engines import ImageSpec, LlmSpec
from joulegate.testing.simulator.requests import Request
from joulegate.testing.simulator.sensor import Sensor

LogNormal = tuple[float, float]
"""Median and standard deviation of the logarithm."""
SIZES = ((512, 512), (768, 768), (1024, 1024), (1024, 768))


@dataclass(frozen=True)
class Flow:
    """One kind of request and how often it comes (a second)."""

    upstream: str
    task: str
    rate: float
    prompt: LogNormal = (300, 0.8)
    out: LogNormal = (150, 0.7)
    streamed: float = 1.0
    """Part of the requests."""
    usage: float = 1.0
    cached: float = 0.0
    cached_reported: float = 0.0
    leaving: float = 0.0
    burst: tuple[float, float] | None = None
    """Seconds with and without arrivals, in turn."""
    steps: tuple[int, ...] = ()
    counts: tuple[int, ...] = (1,)
    job: bool = False

    def requests(self, seconds: float, rng: random.Random) -> list[Request]:
        """Return the requests of a run, without ids."""
        requests, time = [], rng.expovariate(self.rate)
        while time < seconds:
            if self.burst is None or time % sum(self.burst) < self.burst[0]:
                requests.append(self._image(time, rng) if self.steps else self._text(time, rng))
            time += rng.expovariate(self.rate)
        return requests

    def _text(self, time: float, rng: random.Random) -> Request:
        prompt = max(2, round(_draw(self.prompt, rng)))
        out = max(1, round(_draw(self.out, rng))) if self.out[0] else 0
        cached = round(prompt * rng.uniform(0.5, 0.95)) if rng.random() < self.cached else 0
        return Request(
            "", self.upstream, self.task, time,
            stream=rng.random() < self.streamed, reports_usage=rng.random() < self.usage,
            prompt=prompt, out=out, max_tokens=round(out * rng.uniform(1, 2)),
            cached=cached, reports_cached=rng.random() < self.cached_reported,
            body_bytes=round(prompt * 4.2 * rng.gauss(1, 0.04)) + 290,
            leaves=rng.uniform(0.05, 1.0) * (0.05 + 0.009 * out) if rng.random() < self.leaving else None,
        )  # fmt: skip

    def _image(self, time: float, rng: random.Random) -> Request:
        width, height = rng.choice(SIZES)
        return Request(
            "", self.upstream, self.task, time, body_bytes=rng.randint(300, 1500), width=width, height=height,
            steps=rng.choice(self.steps), images=rng.choice(self.counts), job=self.job,
        )  # fmt: skip


def _draw(shape: LogNormal, rng: random.Random) -> float:
    return shape[0] * rng.lognormvariate(0, shape[1])


@dataclass(frozen=True)
class Scenario:
    """One world. Watts are those of all devices together."""

    name: str
    engines: Mapping[str, LlmSpec | ImageSpec]
    flows: tuple[Flow, ...]
    seconds: float = 100
    gpus: int = 1
    idle_watts: float = 75
    active_watts: float = 38
    """Clocks up, nothing computed, above idle."""
    tail_seconds: float = 0.15
    exclusive: bool = True
    """One engine at a time on the device; else they overlap and save ``saving`` watts while they do."""
    saving: float = 65
    drift: float = 0.0
    """Part by which the cost of the same work swings with time."""
    drift_seconds: float = 8
    sensor: Sensor = field(default_factory=Sensor)
    stranger: tuple[float, float, float] | None = None
    """Mean busy and idle seconds of somebody else's process, and its watts."""
    watched: bool = False
    """The driver tells each second or so which processes used the device."""
    lumps: tuple[float, float] = (0.0, 0.05)
    """Part of the streams whose chunks arrive together, and every so many seconds."""

    def requests(self, rng: random.Random) -> list[Request]:
        """Return all requests in the order of their arrival."""
        drawn = [request for flow in self.flows for request in flow.requests(self.seconds, rng)]
        drawn.sort(key=lambda request: request.arrival)
        return [replace(request, id=f"r{number:05d}") for number, request in enumerate(drawn)]

    def image(self, upstream: str) -> bool:
        """Whether an upstream draws images."""
        return isinstance(self.engines[upstream], ImageSpec)

    def concurrency(self, upstream: str) -> int:
        """Return the requests that share a batch of an image upstream."""
        spec = self.engines[upstream]
        return spec.concurrency if isinstance(spec, ImageSpec) else 1

    def lump(self, rng: random.Random) -> float:
        """Return the seconds at whose multiples the chunks of one stream arrive; 0 is as they come."""
        return self.lumps[1] if rng.random() < self.lumps[0] else 0.0


LLM = LlmSpec()
SMALL = LlmSpec(
    step_joules=0.7, sequence_joules=0.012, kv_joules=1e-5, prefill_joules=0.004, step_seconds=0.0035,
    sequence_seconds=3e-5, kv_seconds=1e-8, prefill_seconds=7e-6,
)  # fmt: skip
LARGE = LlmSpec(
    slots=64, step_joules=18, sequence_joules=0.3, kv_joules=1e-4, prefill_joules=0.15, step_seconds=0.0145,
    sequence_seconds=1e-4, prefill_seconds=6e-5,
)  # fmt: skip
ENCODER = replace(
    SMALL, decodes=False, step_joules=0.5, prefill_joules=0.002, step_seconds=0.004, concave=1.5, slots=32
)
CHAT = Flow("llm", "chat", 2, streamed=0.8)
RAG = Flow("llm", "rag", 2, prompt=(2500, 0.4), out=(30, 0.6), streamed=0.75)
WRITE = Flow("llm", "write", 1.6, prompt=(60, 0.6), out=(500, 0.5), streamed=0.75)
IMAGES = Flow("img", "image", 0.35, steps=(4, 8, 20, 28), counts=(1, 1, 1, 2, 4))


def _llm(name: str, *flows: Flow, spec: LlmSpec = LLM, **more: object) -> Scenario:
    return replace(Scenario(name, {"llm": spec}, flows), **more)  # type: ignore[arg-type]  # fields of Scenario


def _images(name: str, *flows: Flow, concurrency: int = 1) -> Scenario:
    return Scenario(name, {"img": ImageSpec(concurrency=concurrency)}, flows)


REGULAR = (
    _llm("light", replace(CHAT, rate=0.8)),
    _llm("bursts", replace(CHAT, rate=9, burst=(3, 12))),
    _llm("saturated", replace(CHAT, rate=9, out=(200, 0.6)), spec=replace(LLM, slots=16), seconds=45),
    _llm("mix", RAG, WRITE),
    _images("image_queue", IMAGES),
    _images("image_batch", replace(IMAGES, rate=0.5, steps=(8, 20), counts=(1,)), concurrency=4),
    Scenario(
        "mixed", {"llm": LLM, "img": ImageSpec()}, (replace(CHAT, rate=1.5), replace(IMAGES, rate=0.12))
    ),
    Scenario(
        "two_models",
        {"llm": LLM, "small": SMALL},
        (replace(CHAT, rate=1.5), replace(CHAT, upstream="small", task="assist", rate=2)),
    ),
    _llm("aborts", replace(CHAT, rate=3, out=(250, 0.6), usage=0.6, leaving=0.3)),
    _llm("sensor_faults", CHAT, replace(RAG, rate=1), sensor=Sensor(lost=0.15, gap=(40, 44), reset=70.0)),
    _llm(
        "tensor_parallel", CHAT, replace(RAG, rate=0.7), spec=LARGE, gpus=4, idle_watts=300, active_watts=150
    ),
    _llm("prefix_cache", replace(RAG, rate=2.5, out=(120, 0.6), cached=0.6, cached_reported=0.5)),
    _llm("speculative", replace(CHAT, rate=3, out=(250, 0.6)), spec=replace(LLM, speculative=5)),
    _images("jobs", replace(IMAGES, job=True)),
)
SPECIAL = (
    _llm("tiny", Flow("llm", "classify", 25, prompt=(120, 0.5), out=(2, 0.2), streamed=0.3), seconds=30),
    _llm("foreign", replace(CHAT, rate=1.5), stranger=(4, 6, 300)),
    _llm("foreign_watched", replace(CHAT, rate=1.5), stranger=(4, 6, 300), watched=True),
)
OUTSIDE = (
    _llm("coalesced", replace(CHAT, rate=3, out=(200, 0.6)), lumps=(0.6, 0.06)),
    _llm("nothing_streamed", replace(CHAT, rate=3, streamed=0.0), replace(RAG, rate=1, streamed=0.0)),
    _llm("budget_1024", RAG, WRITE, spec=replace(LLM, budget=1024)),
    _llm("long_context", Flow("llm", "documents", 0.5, prompt=(12000, 0.6), out=(200, 0.5)), WRITE),
    _llm("experts", RAG, WRITE, spec=replace(LLM, concave=4, sequence_joules=0.02)),
    _llm("power_limit", RAG, WRITE, spec=replace(LLM, power_limit=420)),
    Scenario(
        "overlapping",
        {"llm": LLM, "small": SMALL},
        (replace(CHAT, rate=1.5), replace(CHAT, upstream="small", task="assist", rate=2)),
        exclusive=False,
    ),
    _llm("drifting", RAG, WRITE, drift=0.2),
    _llm(
        "embeddings",
        Flow("llm", "embed", 40, prompt=(120, 0.9), out=(0, 0), streamed=0),
        spec=ENCODER,
        seconds=20,
    ),
    _llm("deep_idle", replace(CHAT, rate=0.5), idle_watts=25, active_watts=90, tail_seconds=1.5),
    _llm("power_only", RAG, WRITE, sensor=Sensor(counter=False)),
)
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in (*REGULAR, *SPECIAL, *OUTSIDE)}
