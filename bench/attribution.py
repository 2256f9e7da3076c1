"""Scores replay against trace sets with truth: `python bench/attribution.py FOLDER [--method M ...]`.

A set is a folder with trace.jsonl, nvml.jsonl, public.json and truth.jsonl.
"""

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from joulegate.replay import METHODS, Result, read, replay
from joulegate.units import nanoseconds

MICRO = 1_000_000
CLASS_SHARE = 0.02
"""Classes below this part of the energy are not judged."""


def ranks(values: Sequence[float]) -> list[float]:
    """Return mean ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    place = 0
    while place < len(order):
        last = place
        while last + 1 < len(order) and values[order[last + 1]] == values[order[place]]:
            last += 1
        for one in order[place : last + 1]:
            found[one] = (place + last) / 2
        place = last + 1
    return found


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the rank correlation."""
    x, y = ranks(a), ranks(b)
    mean = (len(x) - 1) / 2
    top = sum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    scale = math.sqrt(sum((p - mean) ** 2 for p in x) * sum((q - mean) ** 2 for q in y))
    return top / scale if scale else 1.0


def score(result: Result, truth: Sequence[dict]) -> dict[str, float]:
    """Return WAPE, worst class bias, Spearman, coverage and median sigma of one set, in percent."""
    true = [row["causal"] for row in truth]
    got = [(result.requests[row["id"]].energy or 0) / MICRO for row in truth]
    sigma = [result.requests[row["id"]].sigma for row in truth]
    total = sum(true)
    classes: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row, t, g in zip(truth, true, got, strict=True):
        classes[f"{row['upstream']}/{row['task']}"][0] += t
        classes[f"{row['upstream']}/{row['task']}"][1] += g
    biases = {name: g / t - 1 for name, (t, g) in classes.items() if t > CLASS_SHARE * total}
    known = [(t, g, s / MICRO) for t, g, s in zip(true, got, sigma, strict=True) if s is not None]
    relative = sorted(s / g for _, g, s in known if g > 0)
    return {
        "wape": 100 * sum(abs(g - t) for t, g in zip(true, got, strict=True)) / total,
        "bias": 100 * max((abs(b) for b in biases.values()), default=0.0),
        "spearman": spearman(true, got),
        "cover2": 100 * sum(abs(g - t) <= 2 * s + 1e-9 for t, g, s in known) / len(known)
        if known
        else math.nan,
        "sigma": 100 * relative[len(relative) // 2] if relative else math.nan,
        "free": sum(t == 0 and g > 1 for t, g in zip(true, got, strict=True)),
        "books": sum(b.counter - b.requests - b.idle - b.unattributed for b in result.books),
        "idle": sum(b.idle for b in result.books) / MICRO,
        "unattr": sum(b.unattributed for b in result.books) / MICRO,
    }


def load_truth(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines() if line.strip()]


def sets(folder: Path) -> list[Path]:
    """Return the trace sets below a folder."""
    return sorted(path.parent for path in folder.rglob("truth.jsonl"))


COLUMNS = {
    "wape": 2,
    "bias": 1,
    "spearman": 3,
    "cover2": 1,
    "sigma": 1,
    "free": 0,
    "books": 0,
    "idle": 0,
    "unattr": 0,
}
"""Figures of a set and their decimals."""


def line(name: str, method: str, cells: Sequence[str]) -> str:
    return f"{name:24}{method:16}" + "".join(f"{cell:>9}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--method", nargs="*", default=list(METHODS), choices=METHODS)
    parser.add_argument("--settle", type=float, default=30.0)
    args = parser.parse_args()
    print(line("set", "method", [*COLUMNS, "seconds"]))
    mean: dict[str, list[float]] = defaultdict(list)
    for folder in [one for root in args.folder for one in sets(root)]:
        trace = read(folder / "trace.jsonl", folder / "nvml.jsonl", folder / "public.json")
        truth = load_truth(folder)
        for method in args.method:
            begun = time.perf_counter()
            found = score(replay(trace, method, nanoseconds(args.settle)), truth)
            took = time.perf_counter() - begun
            mean[method].append(found["wape"])
            figures = [f"{found[name]:.{places}f}" for name, places in COLUMNS.items()]
            print(line(folder.name, method, [*figures, f"{took:.1f}"]), flush=True)
    for method, wapes in mean.items():
        print(line(f"mean of {len(wapes)}", method, [f"{sum(wapes) / len(wapes):.2f}"]))


if __name__ == "__main__":
    main()
