"""From raw data to findings: ``python bench/gpu/analysis.py DIR`` can be run again, and elsewhere.

Writes the mixes as traces, ``result.json`` and ``report.md`` into the folder, and prints the report.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import product
import report
import truth
from features import energy_between, span, windows
from fit import Line, Truth, affine, block_windows, r_squared
from fit import truth as fit_truth
from product import Judged
from records import Row, Run, load
from sensor import Polling, Sensor, measure, polling


@dataclass(frozen=True)
class Alone:
    """A class by itself; joules a request, all of the GPU while it ran."""

    task: str
    requests: int
    measured: float | None
    predicted: float


@dataclass(frozen=True)
class Mix:
    name: str
    requests: int
    seconds: float
    measured: float | None
    """Joules by the counter from the mix's begin to its end."""
    predicted: float
    r2: float | None
    """Of the predicted energies of its windows."""
    classes: list[Judged]
    wape: float | None
    off_balance: int | None
    unattributed: float | None
    foreign_w: float | None
    """Power beyond the prediction while the foreign process ran."""
    foreign_j: float | None


@dataclass(frozen=True)
class Pair:
    """One seed with and without a class; joules."""

    without: str
    measured: float | None
    predicted: float


@dataclass(frozen=True)
class Findings:
    facts: Row
    sensor: Sensor
    polling: list[Polling]
    truth: Truth
    fit_r2: float | None
    """Of the blocks that the coefficients come from."""
    lines: list[Line]
    alone: list[Alone]
    mixes: list[Mix]
    pairs: list[Pair]
    skipped: list[str]


def find(run: Run, folder: Path) -> Findings:
    """Work out everything."""
    sensor = measure(run)
    lag = round((sensor.lag_ms or 0) * 1e6)
    found = fit_truth(run, sensor.idle_w, sensor.clocks_up_w, lag)
    fitted = block_windows(run, ("decode", "prefill", "unet"), lag)
    return Findings(
        run.facts,
        sensor,
        polling(run),
        found,
        r_squared(fitted.energy, found.predict(fitted)),
        affine(run, sensor.idle_w, sensor.clocks_up_w, lag),
        [_alone(run, block, found, lag) for block in run.kind("alone")],
        [_mix(run, block, found, lag, folder / block["name"]) for block in run.kind("mix")],
        _pairs(run, found, lag),
        [f"{block['name']}: {block['skipped']}" for block in run.blocks if block.get("skipped")],
    )


def predicted(run: Run, block: Row, found: Truth, begun: int, ended: int) -> float:
    """Return the joules of a span by the step log."""
    return float(found.predict(span(run.during(block), begun, ended)).sum())


def _alone(run: Run, block: Row, found: Truth, lag: int) -> Alone:
    begun, ended, count = block["begun"], block["ended"], block["requests"]
    measured = energy_between(run.samples, begun, ended, lag)
    each = None if measured is None else measured / count
    return Alone(block["task"], count, each, predicted(run, block, found, begun, ended) / count)


def _mix(run: Run, block: Row, found: Truth, lag: int, folder: Path) -> Mix:
    truths = truth.write(run, block, found, folder)
    begun, ended = block["begun"], block["ended"]
    steps = run.during(block)
    cut = windows(run.samples, steps, begun, ended, group=run.facts["group"], lag=lag)
    seen = product.attribute(folder)
    watts, joules = _foreign(run, block, found, lag)
    return Mix(
        block["name"],
        len(truths),
        (ended - begun) / 1e9,
        energy_between(run.samples, begun, ended, lag),
        predicted(run, block, found, begun, ended),
        r_squared(cut.energy, found.predict(cut)),
        product.classes(truths, seen),
        None if seen is None else product.wape(truths, seen),
        None if seen is None else seen.off_balance,
        None if seen is None else seen.unattributed,
        watts,
        joules,
    )


def _foreign(run: Run, block: Row, found: Truth, lag: int) -> tuple[float | None, float | None]:
    if not block.get("burnt"):
        return None, None
    begun, ended = block["burnt"][0][0], block["burnt"][-1][1]
    measured = energy_between(run.samples, begun, ended, lag)
    if measured is None:
        return None, None
    over = measured - predicted(run, block, found, begun, ended)
    return over * 1e9 / (ended - begun), over


def _pairs(run: Run, found: Truth, lag: int) -> list[Pair]:
    blocks = run.kind("pair")
    return [
        _pair(run, whole, less, found, lag) for whole, less in zip(blocks[::2], blocks[1::2], strict=False)
    ]


def _pair(run: Run, whole: Row, less: Row, found: Truth, lag: int) -> Pair:
    """Both spans get the length of the longer one, at idle power where one has ended."""
    sides = [
        (
            energy_between(run.samples, block["begun"], block["ended"], lag),
            predicted(run, block, found, block["begun"], block["ended"]),
            (block["ended"] - block["begun"]) / 1e9,
        )
        for block in (whole, less)
    ]
    filled = found.idle * (sides[0][2] - sides[1][2])
    measured = None if sides[0][0] is None or sides[1][0] is None else sides[0][0] - sides[1][0] - filled
    return Pair(str(less["without"]), measured, sides[0][1] - sides[1][1] - filled)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: analysis.py DIR, a folder that experiment.py wrote")
        return 2
    folder = Path(arguments[0])
    findings = find(load(folder), folder)
    (folder / "result.json").write_text(json.dumps(plain(findings), indent=1) + "\n")
    text = report.markdown(findings)
    (folder / "report.md").write_text(text)
    print(text)
    return 0


def plain(findings: Findings) -> dict[str, Any]:
    """Return the findings as JSON has them."""
    return asdict(findings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
