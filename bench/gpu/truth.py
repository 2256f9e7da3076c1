"""The energy of each request by the step log, and the mixes as traces that ``joulegate replay`` accepts.

The causal rule: own work by its coefficients, the fixed energy of a step in equal parts to who was in it,
static power in equal parts to who was on the GPU, queued requests nothing.
"""

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from fit import Truth
from records import Row, Run

BYTES_PER_TOKEN = (2, 3, 4, 4, 5, 5, 6)
OWN = {"prefill": ("pf", "pfx"), "decode": ("tok",), "kv": ("kv",), "image": ("mps", "mps2")}


def write(run: Run, block: Row, found: Truth, folder: Path) -> list[Row]:
    """Write the four files of a mix and return the truth of its requests."""
    folder.mkdir(parents=True, exist_ok=True)
    rest = round(block["rest"] * 1e9)
    base = block["begun"] - rest
    requests = run.of(block)
    rows = sorted((row for one in requests for row in _trace(one, base)), key=lambda row: row["t"])
    samples = [one for one in run.samples if base <= one["t"] <= block["ended"] + rest]
    truths = energies(requests, run.during(block), found, base)
    _lines(folder / "trace.jsonl", rows)
    _lines(folder / "nvml.jsonl", (_reading(one, base) for one in samples))
    _lines(folder / "truth.jsonl", truths)
    (folder / "public.json").write_text(json.dumps(_setup(requests, found), indent=1) + "\n")
    return truths


def energies(requests: Sequence[Row], steps: Sequence[Row], found: Truth, base: int) -> list[Row]:
    """Return a row of truth for each request."""
    parts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    spans: dict[str, list[int]] = {}
    for step in steps:
        for name, work in _members(step).items():
            span = spans.setdefault(name, list(step["t"]))
            span[1] = max(span[1], step["t"][1])
            for cause, columns in OWN.items():
                parts[name][cause] += sum(found.costs[column] * work.get(column, 0) for column in columns)
            parts[name]["fixed"] += work["fixed"] * found.costs["istep" if "i" in step else "step"]
    static = shared(spans, found.idle + found.clocks_up)
    return [
        _truth(one, parts[one["id"]], static.get(one["id"], 0.0), spans.get(one["id"]), base)
        for one in requests
    ]


def shared(spans: dict[str, list[int]], watts: float) -> dict[str, float]:
    """Share a constant power among those present, in equal parts, at every moment."""
    times = sorted({t for span in spans.values() for t in span})
    begins, ends = defaultdict(list), defaultdict(list)
    for name, (begun, ended) in spans.items():
        begins[begun].append(name)
        ends[ended].append(name)
    found: dict[str, float] = defaultdict(float)
    present: set[str] = set()
    for t, following in itertools.pairwise(times):
        present.difference_update(ends[t])
        present.update(name for name in begins[t] if name not in ends[t])
        for name in present:
            found[name] += watts * (following - t) / 1e9 / len(present)
    return found


def _members(step: Row) -> dict[str, dict[str, float]]:
    if "i" in step:
        return {step["i"]: {"mps": step["mps"], "mps2": step["mps2"], "fixed": 1.0}}
    count = len(step["d"]) + len(step["p"])
    found = {name: {"tok": 1.0, "kv": float(context), "fixed": 1 / count} for name, context in step["d"]}
    for name, new, before in step["p"]:
        found[name] = {"pf": float(new), "pfx": new * (before + new / 2), "fixed": 1 / count}
    return found


def _truth(one: Row, parts: dict[str, float], static: float, span: list[int] | None, base: int) -> Row:
    own = sum(parts[cause] for cause in OWN)
    figures = {"causal": own + parts["fixed"] + static, "dynamic": own + parts["fixed"], "own": own}
    figures |= {cause: parts[cause] for cause in ("fixed", *OWN)} | {"static": static}
    return {
        "id": one["id"],
        "kind": "llm" if one["u"] == "llm" else "image",
        "upstream": one["u"],
        "task": one["task"],
        **{name: round(value, 6) for name, value in figures.items()},
        "prompt": one.get("prompt", 0),
        "out": len(one.get("chunks", [])),
        "t_admit": _time(span[0], base) if span else -1,
        "t_end": _time(span[1], base) if span else -1,
        "aborted": _left(one) is not None,
    }


# --- what a proxy would have seen


def _trace(one: Row, base: int) -> list[Row]:
    return _image_trace(one, base) if one["u"] == "img" else _language_trace(one, base)


def _language_trace(one: Row, base: int) -> list[Row]:
    rng = random.Random(one["id"])
    sizes = [rng.choice(BYTES_PER_TOKEN) for _ in one["chunks"]]
    start = _start(one, base, round(4.2 * one["prompt"]) + 250) | {
        "stream": one["stream"],
        "max_tokens": 2 * one["out"],
    }
    left = _left(one)
    ended = (one["chunks"][-1] if left is None else max(left, one["arrived"])) + 300_000
    usage = {"prompt_tokens": one["prompt"], "completion_tokens": len(sizes)} if left is None else None
    end: Row = {"ev": "end", "t": _time(ended, base), "id": one["id"], "status": 200 if left is None else 499}
    end |= {"usage": usage, "resp_bytes": sum(sizes) if one["stream"] or left is None else 0}
    if not one["stream"]:
        first = [{"ev": "first_byte", "t": end["t"], "id": one["id"]}] if left is None else []
        return [start, *first, end]
    end |= {"chunk_t": [round((t - base) / 1e9, 4) for t in one["chunks"]], "chunk_b": sizes}
    first = [{"ev": "first_byte", "t": _time(one["chunks"][0], base), "id": one["id"]}] if sizes else []
    return [start, *first, end]


def _image_trace(one: Row, base: int) -> list[Row]:
    side = 8 * one["latent"]
    shape = {"width": side, "height": side, "steps": one["steps"], "n": 1}
    left = _left(one)
    end: Row = {"ev": "end", "t": _time(max(one["ended"], one["arrived"]), base), "id": one["id"]}
    end |= {
        "status": 200 if left is None else 499,
        "usage": None,
        "resp_bytes": side * side if left is None else 0,
    }
    return [_start(one, base, 400) | {"stream": False} | shape, end]


def _start(one: Row, base: int, size: int) -> Row:
    words = {"id": one["id"], "upstream": one["u"], "task": one["task"], "body_bytes": size}
    return {"ev": "start", "t": _time(one["arrived"], base), **words}


def _left(one: Row) -> int | None:
    """Return when a request was given up, if it was."""
    if one["u"] == "img":
        return one["ended"] if len(one["steps_at"]) < one["steps"] else None
    left: int | None = one["left"]
    return left


def _reading(sample: Row, base: int) -> Row:
    row: Row = {"t": round((sample["t"] - base) / 1e9, 4), "gpu": 0}
    names = ("error",) if "error" in sample else ("energy_mj", "power_mw", "sm_clock_mhz")
    return row | {name: sample[name] for name in names if name in sample}


def _setup(requests: Sequence[Row], found: Truth) -> Row:
    kinds = {"llm": {"kind": "llm", "gpus": [0]}, "img": {"kind": "image", "gpus": [0], "concurrency": 1}}
    there = {one["u"] for one in requests}
    upstreams = {name: kind for name, kind in kinds.items() if name in there}
    return {"upstreams": upstreams, "n_gpus": 1, "idle_w": round(found.idle, 2)}


def _time(t: int, base: int) -> float:
    return round((t - base) / 1e9, 5)


def _lines(path: Path, rows: Iterable[Row]) -> None:
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
