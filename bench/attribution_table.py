"""Rewrites the tables of docs/attribution.md: `python bench/attribution_table.py [--seed 11]`.

Every scenario of the simulator by every method; takes some minutes.
"""

import argparse
import math
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attribution import load_truth, score

from joulegate.replay import METHODS, read, replay
from joulegate.testing.simulator import OUTSIDE, REGULAR, SCENARIOS, simulate, write
from joulegate.units import nanoseconds

PAGE = Path(__file__).parents[1] / "docs" / "attribution.md"
SETTLE = 30.0
Figures = dict[str, dict[str, float]]


def judge(name: str, seed: int) -> Figures:
    """Return the figures of every method on one scenario."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(simulate(SCENARIOS[name], seed), folder, seed)
        trace = read(folder / "trace.jsonl", folder / "nvml.jsonl", folder / "public.json")
        truth = load_truth(folder)
        found = {method: score(replay(trace, method, nanoseconds(SETTLE)), truth) for method in METHODS}
    print(name, {method: round(figures["wape"], 1) for method, figures in found.items()}, flush=True)
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def wapes(found: dict[str, Figures]) -> str:
    """Return the error of every method on every scenario."""
    rows = [
        [name.replace("_", " "), *(f"{figures[method]['wape']:.1f}" for method in METHODS)]
        for name, figures in found.items()
    ]
    return table(["scenario", *METHODS], [*rows, *means(found)])


def means(found: dict[str, Figures]) -> list[list[str]]:
    groups = {"mean, regular": REGULAR, "mean, outside": OUTSIDE}
    return [
        [
            f"**{title}**",
            *(f"**{sum(found[s.name][m]['wape'] for s in group) / len(group):.1f}**" for m in METHODS),
        ]
        for title, group in groups.items()
    ]


def details(found: dict[str, Figures]) -> str:
    """Return all figures of the model."""
    rows = []
    for name, figures in found.items():
        one = figures["step-clock"]
        assert one["books"] == 0
        sigma = "-" if math.isnan(one["sigma"]) else f"{one['sigma']:.1f}"
        rows.append(
            [
                name.replace("_", " "),
                f"{one['wape']:.1f}",
                f"{one['bias']:.1f}",
                f"{one['spearman']:.3f}",
                f"{one['cover2']:.0f}",
                sigma,
            ]
        )
    return table(
        ["scenario", "WAPE %", "worst class bias %", "rank", "within 2 sigma %", "median sigma %"], rows
    )


def put(text: str, name: str, content: str) -> str:
    """Replace what stands between the two markers of a name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    return re.sub(f"{begin}.*?{end}", f"{begin}\n\n{content}\n\n{end}", text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    seed = parser.parse_args().seed
    found = {name: judge(name, seed) for name in SCENARIOS}
    text = PAGE.read_text()
    text = put(put(text, "methods", wapes(found)), "model", details(found))
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
