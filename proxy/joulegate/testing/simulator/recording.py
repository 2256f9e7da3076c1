"""A simulated world as the four files that ``joulegate replay`` and its scoring read."""

import json
import random
from collections.abc import Iterable
from pathlib import Path

from joulegate.testing.simulator.requests import Request
from joulegate.testing.simulator.world import World

Row = dict[str, object]
REPORT_EVERY = 1.0
"""Seconds between reports on processes."""
REPORTS_MISSING = 0.1
REPORT_NOISE = 0.03
BYTES_PER_TOKEN = (2, 3, 4, 4, 5, 5, 6)


def write(world: World, folder: Path, seed: int = 1) -> None:
    """Write ``trace.jsonl``, ``nvml.jsonl``, ``public.json`` and ``truth.jsonl`` into a folder."""
    rng = random.Random(f"{world.scenario.name}-{seed}")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for request in world.requests for row in _rows(world, request, rng)]
    _lines(folder / "trace.jsonl", sorted(rows, key=_time))
    end = max(_time(row) for row in rows) + 1
    gpus = world.scenario.gpus
    sensor = world.scenario.sensor
    samples = [
        row for gpu in range(gpus) for row in sensor.read(lambda t: world.energy(t) / gpus, gpu, end, rng)
    ]
    if world.scenario.watched:
        samples = _watched(world, sorted(samples, key=_time), rng)
    _lines(folder / "nvml.jsonl", sorted(samples, key=_time))
    (folder / "public.json").write_text(json.dumps(_setup(world, rng), indent=1))
    _lines(folder / "truth.jsonl", (_truth(world, request) for request in world.requests))


def _watched(world: World, samples: Iterable[Row], rng: random.Random) -> list[Row]:
    """Add to some readings what a driver tells of processes: whole per cent of about the last second."""
    found, since = [], 0.0
    for row in samples:
        t = _time(row)
        if t - since >= REPORT_EVERY and "error" not in row:
            if rng.random() >= REPORTS_MISSING:
                own, foreign = (
                    round(
                        100
                        * min(max(usage.between(since, t) / (t - since) + rng.gauss(0, REPORT_NOISE), 0), 1)
                    )
                    for usage in (world.own, world.alien)
                )
                row |= {"processes": {"since": round(since, 4), "t": t, "own": own, "foreign": foreign}}
            since = t
        found.append(row)
    return found


def _time(row: Row) -> float:
    return float(str(row["t"]))


def _lines(path: Path, rows: Iterable[Row]) -> None:
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def _rows(world: World, request: Request, rng: random.Random) -> list[Row]:
    if world.scenario.image(request.upstream):
        return _image(request, rng)
    return _stream(world, request, rng) if request.stream else _whole(request, rng)


def _start(request: Request) -> Row:
    row: Row = {"ev": "start", "t": round(request.arrival, 5), "id": request.id, "upstream": request.upstream}
    return row | {"task": request.task, "body_bytes": request.body_bytes, "stream": request.stream}


def _image(request: Request, rng: random.Random) -> list[Row]:
    shape = {"width": request.width, "height": request.height, "steps": request.steps, "n": request.images}
    start = _start(request) | shape
    content = int(request.width * request.height * 1.3) * request.images
    if request.admitted is None or request.ended is None:
        return [start]
    end: Row = {"id": request.id, "status": 200, "usage": None, "resp_bytes": content}
    if not request.job:
        return [start, {"ev": "end", **end, "t": round(request.ended + rng.uniform(0.003, 0.007), 5)}]
    running = request.admitted + rng.uniform(0.005, 0.06)
    return [
        start | {"async": True},
        {"ev": "job_accepted", "t": round(request.arrival + 0.005, 5), "id": request.id},
        {"ev": "job_running", "t": round(running, 5), "id": request.id},
        {"ev": "job_done", **end, "t": round(request.ended + rng.uniform(0.005, 0.5), 5)},
    ]


def _whole(request: Request, rng: random.Random) -> list[Row]:
    start = _start(request) | {"max_tokens": request.max_tokens}
    if request.aborted or request.ended is None:
        return [start, _left(request)]
    end = request.ended + rng.uniform(0.002, 0.005)
    if end > request.gone:
        return [start, _left(request)]
    content = sum(rng.choice(BYTES_PER_TOKEN) for _ in range(request.produced))
    first: Row = {"ev": "first_byte", "t": round(end, 5), "id": request.id}
    done: Row = {
        "ev": "end",
        "id": request.id,
        "status": 200,
        "usage": _usage(request),
        "resp_bytes": content,
    }
    return [start, first, done | {"t": round(end, 5)}]


def _left(request: Request) -> Row:
    row: Row = {"ev": "end", "id": request.id, "status": 499, "usage": None, "resp_bytes": 0}
    return row | {"t": round(max(request.gone, request.arrival), 5)}


def _usage(request: Request) -> Row | None:
    if not request.reports_usage:
        return None
    usage: Row = {"prompt_tokens": request.prompt, "completion_tokens": request.produced}
    return usage | ({"cached_tokens": request.cached} if request.reports_cached and request.cached else {})


def _stream(world: World, request: Request, rng: random.Random) -> list[Row]:
    start = _start(request) | {"max_tokens": request.max_tokens}
    lump = world.scenario.lump(rng)
    chunks = _chunks(request, lump, rng)
    if not request.aborted and request.ended is not None:
        end = max(request.ended, chunks[-1][0] if chunks else 0.0) + rng.uniform(0.0003, 0.003)
        whole = end <= request.gone
    else:
        end, whole = request.gone, False
    if not whole:
        end = request.gone
        chunks = [(time, size) for time, size in chunks if time <= end]
    row: Row = {"ev": "end", "id": request.id, "status": 200 if whole else 499}
    row |= {"usage": _usage(request) if whole else None}
    row |= {"chunk_t": [round(time, 4) for time, _ in chunks], "chunk_b": [size for _, size in chunks]}
    row |= {"resp_bytes": sum(size for _, size in chunks), "t": round(end + 1e-5, 5)}
    first: list[Row] = [{"ev": "first_byte", "t": round(chunks[0][0], 5), "id": request.id}] if chunks else []
    return [start, *first, row]


def _chunks(request: Request, lump: float, rng: random.Random) -> list[tuple[float, int]]:
    arrivals: list[tuple[float, int]] = []
    last, phase = 0.0, rng.uniform(0, lump)
    for step, tokens in request.emissions:
        time = max(last, step + 0.0012 + rng.expovariate(1 / 0.001))
        if lump:
            time = max(last, phase + lump * -(-(time - phase) // lump))
        size = sum(rng.choice(BYTES_PER_TOKEN) for _ in range(tokens))
        if arrivals and arrivals[-1][0] == time:
            size += arrivals.pop()[1]
        arrivals.append((time, size))
        last = time
    return arrivals


def _setup(world: World, rng: random.Random) -> Row:
    scenario = world.scenario
    upstreams = {
        name: {"kind": "image", "gpus": list(range(scenario.gpus)), "concurrency": scenario.concurrency(name)}
        if scenario.image(name)
        else {"kind": "llm", "gpus": list(range(scenario.gpus))}
        for name in scenario.engines
    }
    idle = round(scenario.idle_watts * rng.gauss(1, 0.02), 1)
    return {"upstreams": upstreams, "n_gpus": scenario.gpus, "idle_w": idle}


def _truth(world: World, request: Request) -> Row:
    energy = request.energy
    causes = {
        cause: round(getattr(energy, cause), 6)
        for cause in ("fixed", "prefill", "decode", "kv", "image", "static")
    }
    return {
        "id": request.id,
        "kind": "image" if world.scenario.image(request.upstream) else "llm",
        "upstream": request.upstream,
        "task": request.task,
        "causal": round(energy.causal(), 6),
        "dynamic": round(energy.own() + energy.fixed, 6),
        "own": round(energy.own(), 6),
        **causes,
        "prompt": request.prompt,
        "out": request.produced,
        "t_admit": -1 if request.admitted is None else request.admitted,
        "t_end": -1 if request.ended is None else request.ended,
        "aborted": request.aborted,
    }
