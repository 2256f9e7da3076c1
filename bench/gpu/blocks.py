"""The blocks of the experiment: what is run for how long, and what it gives."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import traffic
from backend import Backend, Llm, Part, Unet
from engine import Ask, Engine, Step, serve
from records import Recorder, Row, image_row, language_row, request_row
from sampler import Sampler
from shapes import Size
from worker import Worker

RATES = (5, 20, 200)
"""Readings a second that are compared."""
QUICK = 0.02
"""s between readings where the sensor's own steps are looked at."""
DRAIN = 10
"""s after a mix until what still runs is given up."""


@dataclass
class Bench:
    """A machine that is set up for all blocks."""

    size: Size
    scale: float
    backend: Backend
    llm: Llm
    unet: Unet
    sampler: Sampler
    recorder: Recorder
    spawn: Callable[[str], Worker]
    clock: Callable[[], int] = time.monotonic_ns
    pause: Callable[[float], object] = time.sleep
    workers: dict[str, Worker] = field(default_factory=dict)
    _told: int = 0

    def worker(self, role: str) -> Worker:
        """Return the second process of a role; it is started when it is first needed."""
        if role not in self.workers:
            self.workers[role] = self.spawn(role)
        return self.workers[role]

    def dismiss(self, role: str) -> None:
        """End a process, so that its context does not draw power in other blocks."""
        if role in self.workers:
            self.workers.pop(role).close()

    @property
    def rest(self) -> float:
        """Return the seconds of quiet before and after a mix, so that its trace holds nothing else."""
        return 2.5 * min(4 * self.scale, 1)

    def record(
        self, name: str, kind: str, begun: int, rows: Sequence[Row], *, ended: int | None = None, **words: Any
    ) -> None:
        """Write a block, which ends now unless it ended before, and everything that was sampled so far."""
        ended = ended or self.clock()
        self.recorder.add("steps", rows)
        self.recorder.add("blocks", [{"name": name, "kind": kind, "begun": begun, "ended": ended, **words}])
        samples = self.sampler.samples[self._told :]
        self._told += len(samples)
        self.recorder.add("samples", samples)
        watts = _watts(samples, begun)
        print(f"  {name:24}{(ended - begun) / 1e9:7.1f} s{watts}", flush=True)

    def skip(self, name: str, kind: str, why: str) -> None:
        """Report that a block cannot be run here."""
        now = self.clock()
        self.recorder.add(
            "blocks", [{"name": name, "kind": kind, "begun": now, "ended": now, "skipped": why}]
        )
        print(f"  {name:24}  left out: {why}", flush=True)


# --- steady work


def idle(bench: Bench, seconds: float) -> None:
    """Contexts loaded, nothing to do; then bursts, each with its tail."""
    bench.sampler.period = QUICK
    begun = bench.clock()
    bench.pause(seconds * 0.55)
    bench.record("idle", "idle", begun, [])
    for number in range(3):
        hold(
            bench,
            f"burst {number}",
            "burst",
            max(seconds * 0.025, 0.3),
            _decoding(bench, bench.size.batches[-2], 0),
        )
        begun = bench.clock()
        bench.pause(max(seconds * 0.125, 0.6))
        bench.record(f"tail {number}", "tail", begun, [])
    bench.sampler.period = 0.05


def polling(bench: Bench, seconds: float) -> None:
    """The same load read at different rates."""
    for rate in RATES:
        bench.sampler.period = 1 / rate
        work = _decoding(bench, bench.size.batches[len(bench.size.batches) // 2], 0)
        hold(bench, f"poll {rate} Hz", "poll", max(seconds / len(RATES), 0.5), work, rate=rate)
    bench.sampler.period = 0.05


def decode(bench: Bench, seconds: float) -> None:
    """Every batch with every context length."""
    pairs = [(batch, context) for context in bench.size.contexts for batch in bench.size.batches]
    for batch, context in pairs:
        name = f"decode {batch} x {context}"
        if batch * (context + 1) > bench.llm.kv_tokens:
            bench.skip(
                name, "decode", f"{batch * (context + 1)} tokens do not fit into {bench.llm.kv_tokens}"
            )
            continue
        work = _decoding(bench, batch, context)
        hold(bench, name, "decode", seconds / len(pairs), work, batch=batch, context=context)


def prefill(bench: Bench, seconds: float) -> None:
    """Prompts of some lengths, one after the other, in steps of the token budget."""
    for prompt in bench.size.prompts:
        chunks = [
            (before, min(bench.size.budget, prompt - before))
            for before in range(0, prompt, bench.size.budget)
        ]
        work = partial(_prefill, bench, chunks)
        hold(bench, f"prefill {prompt}", "prefill", seconds / len(bench.size.prompts), work)


def unet(bench: Bench, seconds: float) -> None:
    """Every image size with every batch."""
    pairs = [(latent, batch) for latent in bench.size.latents for batch in bench.size.image_batches]
    for latent, batch in pairs:
        name = f"unet {8 * latent} px x {batch}"
        hold(
            bench,
            name,
            "unet",
            seconds / len(pairs),
            partial(_image, bench, latent, batch),
            latent=latent,
            batch=batch,
        )


def hold(
    bench: Bench, name: str, kind: str, seconds: float, work: Callable[[str], list[Row]], **words: Any
) -> None:
    """Repeat some work for a while."""
    work(name)  # memory and kernels are ready before the clock runs
    begun, rows = bench.clock(), []
    while bench.clock() < begun + seconds * 1e9:
        rows += work(name)
    bench.record(name, kind, begun, rows, **words)


def _decoding(bench: Bench, batch: int, context: int) -> Callable[[str], list[Row]]:
    context = context or bench.size.contexts[0]
    parts = [Part(number * (context + 1), context, 1) for number in range(batch)]
    decodes = tuple((str(number), context + 1) for number in range(batch))

    def work(name: str) -> list[Row]:
        begun = bench.clock()
        bench.llm.step(parts)
        return [language_row(name, Step(begun, bench.clock(), decodes=decodes), names=False)]

    return work


def _prefill(bench: Bench, chunks: Sequence[tuple[int, int]], name: str) -> list[Row]:
    rows = []
    for before, new in chunks:
        begun = bench.clock()
        bench.llm.step([Part(0, before, new)])
        step = Step(begun, bench.clock(), prefills=(("0", new, before),))
        rows.append(language_row(name, step, names=False))
    return rows


def _image(bench: Bench, latent: int, batch: int, name: str) -> list[Row]:
    begun = bench.clock()
    bench.unet.step(latent, batch)
    return [image_row(name, (begun, bench.clock()), latent, batch)]


# --- requests


def isolated(bench: Bench, seconds: float) -> None:
    """Each class by itself, one request after the other."""
    for kind in bench.size.classes:
        bench.pause(min(0.3, bench.rest))  # the counter has forgotten the block before
        name, begun, steps, done = f"alone {kind.task}", bench.clock(), [], 0
        while bench.clock() < begun + seconds / len(bench.size.classes) * 1e9:
            made, _ = _serve(bench, traffic.alone(kind, 1), bench.clock(), 3600)
            steps += made
            done += 1
        rows = [language_row(name, step, names=False) for step in steps]
        bench.record(name, "alone", begun, rows, task=kind.task, requests=done)


def mix_a(bench: Bench, seconds: float) -> None:
    """Poisson arrivals of all classes."""
    mix(bench, "mix-a", seconds)


def mix_b(bench: Bench, seconds: float) -> None:
    """The same, and images from a second process."""
    mix(bench, "mix-b", seconds, seed=2, images=True)


def mix_c(bench: Bench, seconds: float) -> None:
    """The same, and half of the time a stranger's matrix products."""
    mix(bench, "mix-c", seconds, seed=3, images=True, foreign=True)
    bench.dismiss("burn")
    bench.dismiss("unet")


def removal(bench: Bench, seconds: float) -> None:
    """One seed with and without one class, twice."""
    bench.dismiss("unet")
    without = max(bench.size.classes, key=lambda kind: kind.out).task
    for number in range(2):
        mix(bench, f"pair {number} all", seconds / 4, seed=4, kind="pair")
        mix(bench, f"pair {number} without", seconds / 4, seed=4, kind="pair", without=without)


def mix(
    bench: Bench,
    name: str,
    seconds: float,
    *,
    seed: int = 1,
    images: bool = False,
    foreign: bool = False,
    without: str | None = None,
    kind: str = "mix",
) -> None:
    """Serve traffic; every step keeps who took part."""
    helpers = [bench.worker(role) for role, wanted in (("unet", images), ("burn", foreign)) if wanted]
    bench.pause(bench.rest)
    begun = bench.clock()
    span = round(seconds * 1e9)
    if images:
        asks = [asdict(ask) for ask in traffic.images(bench.size, seconds, seed)]
        bench.worker("unet").order(asks=asks, begin=begun, end=begun + span + DRAIN * 10**9)
    if foreign:
        bench.worker("burn").order(begin=begun + span // 4, end=begun + span * 3 // 4)
    steps, served = _serve(
        bench, traffic.language(bench.size, seconds, seed, without=without), begun, seconds + DRAIN
    )
    rows = [language_row(name, step, names=True) for step in steps]
    requests = [request_row(name, one, begun) for one in served]
    drawn = bench.worker("unet").result() if images else []
    burnt = bench.worker("burn").result() if foreign else []
    for image in drawn:
        rows += [image_row(name, at, image["latent"], 1, image["id"]) for at in image["steps_at"]]
        requests.append({"b": name, "u": "img", "task": "image", **image})
    bench.pause(max(begun + span - bench.clock(), 0) / 1e9)  # all runs of a pair are of one length
    ended = bench.clock()
    bench.pause(bench.rest)
    bench.recorder.add("requests", requests)
    rows.sort(key=lambda row: row["t"][0])
    words = {"rest": bench.rest, "without": without, "burnt": burnt, "helpers": [one.pid for one in helpers]}
    bench.record(name, kind, begun, rows, ended=ended, **words)


def _serve(bench: Bench, asks: Sequence[Ask], begin: int, seconds: float) -> tuple[list[Step], list[Any]]:
    engine = Engine(bench.llm, budget=bench.size.budget, slots=bench.size.slots)
    end = begin + round(seconds * 1e9)
    return serve(engine, asks, begin=begin, end=end, clock=bench.clock, pause=bench.pause)


def _watts(samples: Sequence[Row], begun: int) -> str:
    good = [sample for sample in samples if "energy_mj" in sample and sample["t"] >= begun]
    if len(good) < 2 or good[-1]["t"] == good[0]["t"]:
        return ""
    energy = good[-1]["energy_mj"] - good[0]["energy_mj"]
    return f"{energy * 1e6 / (good[-1]['t'] - good[0]['t']):9.1f} W"


BLOCKS: dict[str, tuple[Callable[[Bench, float], None], float]] = {
    "idle": (idle, 40),
    "polling": (polling, 20),
    "decode": (decode, 60),
    "prefill": (prefill, 20),
    "unet": (unet, 30),
    "isolated": (isolated, 40),
    "mix-a": (mix_a, 50),
    "mix-b": (mix_b, 50),
    "mix-c": (mix_c, 50),
    "removal": (removal, 60),
}
"""What can be run, in this order, and its seconds at scale 1: 420 in all, and half a minute of rests."""
