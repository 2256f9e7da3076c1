"""The findings as a page of Markdown, ready for ``docs/validation``; every figure says how it was got."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis import Findings, Mix

LEAST_R2 = 0.98
MOST_BIAS = 0.10
SMALL_CLASS = 0.02
"""Classes with less of the energy are not judged."""
NOTHING = ("-", None)
UNITS = {
    "step": "J a step",
    "tok": "J a decoded token",
    "kv": "J a cached token read",
    "pf": "J a prefilled token",
    "pfx": "J a prefilled token and token before it",
    "istep": "J a denoising step",
    "mps": "J a megapixel-step",
    "mps2": "J a megapixel-step and megapixel",
}


def markdown(found: Findings) -> str:
    """Return the whole page."""
    return (
        "\n".join([*_head(found), *_verdicts(found), *_sensor(found), *_costs(found), *_requests(found)])
        + "\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Return a table; figures that are absent are a dash."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join('-' if cell is None else str(cell) for cell in row)} |"
    yield ""


def verdicts(found: Findings) -> list[tuple[str, str, bool | None]]:
    """Return what was asked, what came out, and whether it is enough; ``None`` where it was not measured."""
    r2 = [mix.r2 for mix in found.mixes if mix.r2 is not None and not mix.foreign_j]
    biases = {
        f"{mix.name} {name}": bias for mix in found.mixes if not mix.foreign_j for name, bias in _biases(mix)
    }
    worst = max(biases, key=lambda name: abs(biases[name]), default=None)
    books = [mix.off_balance for mix in found.mixes if mix.off_balance is not None]
    asked = (
        f"R2 of window energies on unseen mixes >= {LEAST_R2}",
        f"class energies within {MOST_BIAS:.0%} of the step log",
        "books exact",
    )
    got = (
        (f"{min(r2):.4f}", min(r2) >= LEAST_R2) if r2 else NOTHING,
        (f"{biases[worst]:+.1%} ({worst})", abs(biases[worst]) <= MOST_BIAS) if worst else NOTHING,
        (f"off by {sum(map(abs, books))} uJ", not any(books)) if books else NOTHING,
    )
    return [(ask, *answer) for ask, answer in zip(asked, got, strict=True)]


def _biases(mix: Mix) -> Iterator[tuple[str, float]]:
    total = sum(one.truth for one in mix.classes)
    for one in mix.classes:
        if one.attributed is not None and one.truth > SMALL_CLASS * total:
            yield one.name, one.attributed / one.truth - 1


def _head(found: Findings) -> Iterator[str]:
    facts = found.facts
    yield f"# One {facts['gpu']}: truth against attribution\n"
    yield (
        f"Measured by `bench/gpu/experiment.py` ({facts['size']} models, scale {facts['scale']}), "
        f"{facts['backend']}, driver {facts['driver']}, attention: {facts['attention']}, "
        f"{facts['kv_tokens']} tokens of key-value pool, power limit {_f(facts.get('power_limit_w'), 0)} W.\n"
    )
    if facts["size"] == "small":
        yield "**Tiny models in a short run: the experiment works, and its figures mean nothing.**\n"
    yield (
        "Truth is the engines' own step log with coefficients that were fitted on the decode, prefill and "
        "denoising blocks only. joulegate saw the arrival of chunks, the usage and the counter.\n"
    )


def _verdicts(found: Findings) -> Iterator[str]:
    yield "## Verdict\n"
    words = {True: "yes", False: "NO", None: "not measured"}
    yield from table(["asked", "found", "met"], ((ask, got, words[met]) for ask, got, met in verdicts(found)))
    for line in found.skipped:
        yield f"Left out: {line}.\n"


def _sensor(found: Findings) -> Iterator[str]:
    sensor = found.sensor
    yield "## The sensor\n"
    yield from table(
        ["figure", "value"],
        [
            ["counter moves every", f"{_ms(sensor.period_ms)}"],
            ["counter lag, best agreement over bursts", f"{_ms(sensor.lag_ms)}"],
            ["reading the counter takes (median)", f"{sensor.call_us:.0f} us"],
            ["idle, contexts loaded", f"{sensor.idle_w:.1f} W"],
            ["above idle just after a burst (clocks up)", f"{sensor.clocks_up_w:.1f} W"],
            ["tail after the last work, at that power", f"{_f(sensor.tail_s, 2) or NOTHING[0]} s"],
        ],
    )
    if found.polling:
        yield "Does polling disturb it? The same decode load, read at three rates:\n"
        head = ["readings a second", "W by counter", "W, mean instantaneous", "steps a second", "call, us"]
        rows = (
            [one.rate, _f(one.counter_w, 1), _f(one.instant_w, 1), _f(one.steps_per_s, 1), _f(one.call_us, 0)]
            for one in found.polling
        )
        yield from table(head, rows)


def _costs(found: Findings) -> Iterator[str]:
    yield "## What work costs\n"
    yield f"R2 of the fit on its own blocks: {_f(found.fit_r2, 4)}.\n"
    costs = found.truth.costs
    yield from table(["unit", "cost"], ([UNITS[name], f"{costs[name]:.4g}"] for name in UNITS))
    if found.lines:
        yield "Is a decode step affine in the batch? `fixed + each x batch`, dynamic energy:\n"
        rows = ([one.context, _f(one.fixed, 4), _f(one.each, 5), f"{one.worst:.1%}"] for one in found.lines)
        yield from table(["context", "fixed, J", "each, J", "largest deviation"], rows)


def _requests(found: Findings) -> Iterator[str]:
    if found.alone:
        yield "## Requests by themselves\n"
        rows = ([one.task, one.requests, _f(one.measured, 2), _f(one.predicted, 2)] for one in found.alone)
        yield from table(["class", "requests", "J each, counter", "J each, step log"], rows)
    if found.mixes:
        yield "## Under load\n"
        yield from _mixes(found.mixes)
    for mix in found.mixes:
        yield f"### {mix.name}\n"
        yield from table(["class", "requests", "J, step log", "J, joulegate", "off"], _classes(mix))
    if found.pairs:
        yield "## Paired removal\n"
        yield "One seed with and without a class: what the class adds, not what it is billed.\n"
        rows = ([one.without, _f(one.measured, 1), _f(one.predicted, 1)] for one in found.pairs)
        yield from table(["without", "J less, counter", "J less, step log"], rows)


def _mixes(mixes: Sequence[Mix]) -> Iterator[str]:
    head = [
        "mix",
        "requests",
        "s",
        "J, counter",
        "J, step log",
        "R2",
        "WAPE",
        "unattributed, J",
        "foreign, J",
    ]
    yield from table(head, map(_mix, mixes))
    if any(mix.wape is None for mix in mixes):
        yield (
            "joulegate could not be imported where this was made: run `python bench/gpu/analysis.py DIR` "
            "where it is installed.\n"
        )


def _mix(mix: Mix) -> list[object]:
    return [
        mix.name,
        mix.requests,
        _f(mix.seconds, 1),
        _f(mix.measured, 0),
        _f(mix.predicted, 0),
        _f(mix.r2, 4),
        None if mix.wape is None else f"{mix.wape:.1%}",
        _f(mix.unattributed, 0),
        _f(mix.foreign_j, 0),
    ]


def _classes(mix: Mix) -> Iterator[list[object]]:
    for one in mix.classes:
        off = None if one.attributed is None or not one.truth else f"{one.attributed / one.truth - 1:+.1%}"
        yield [one.name, one.requests, _f(one.truth, 1), _f(one.attributed, 1), off]


def _f(value: float | None, places: int) -> str | None:
    return None if value is None else f"{value:.{places}f}"


def _ms(value: float | None) -> str:
    return "too short a run to tell" if value is None else f"{value:.1f} ms"
