"""The study's table as people see it: a ``StudyReport`` in, rich renderables out. Pure.

Every table stands with the source of its energy, the tier, the boundary and whether the books balance.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from math import floor, log10

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from joulegate.cli.figures import UNKNOWN, counted, energy, mass, printable
from joulegate.model import Tier, WorkClass, WorkTotals
from joulegate.report.study import StudyReport, StudyRow

_FIGURES = ("requests", "kWh\n/1,000", "± std", "g CO2e\n/1,000", "phone\ncharges", "km by\ncar")
_WIDE = 100
"""Columns of a terminal from which on task and model stand side by side."""
_SMALL = 1e-4
"""Below it the zeros are hard to count."""
_TIERS = {
    Tier.COUNTER.value: "measured, energy counter",
    Tier.POWER.value: "measured, power readings",
    Tier.ESTIMATE.value: "MODELLED, not measured",
    Tier.SYNTHETIC.value: "MADE UP, nothing was measured",
}


def table(report: StudyReport, width: int = _WIDE) -> RenderableType:
    """Return the table and what is needed to read it, for a terminal of so many columns."""
    words = list(dict.fromkeys(word for row in report.rows for word in row.group))
    shown = Table(box=None, pad_edge=False, header_style="bold cyan")
    stacked = width < _WIDE
    for word in ["\n".join(words)] if stacked else words:
        shown.add_column(word, overflow="fold")
    for title in _FIGURES:
        shown.add_column(title, justify="right", no_wrap=True)
    for row in report.rows:
        names = [printable(row.group.get(word, UNKNOWN) or UNKNOWN) for word in words]
        shown.add_row(*map(Text, ["\n".join(names)] if stacked else names), *_figures(row))
    body = shown if report.rows else Text("no inference request was settled in this time", style="yellow")
    return Group(body, Text(), *(Text(line) for line in notes(report)))


def notes(report: StudyReport) -> Iterator[str]:
    """Return what the figures are made of."""
    yield f"{_time(report.since)} to {_time(report.until)}; boundary {report.boundary}; rule {report.method}"
    for origin in report.origins:
        note = f" ({printable(origin.note, 200)})" if origin.note else ""
        name = printable(f"{origin.name} {origin.device}".strip())
        yield f"energy: {origin.source}, {_TIERS.get(origin.tier, origin.tier)}: {name}{note}"
    yield _carbon(report)
    yield _books(report)
    yield from _kinds(report)
    besides = [work for work in report.works if work.work is not WorkClass.INFERENCE]
    if besides:
        yield f"since the ledger began, besides inference: {', '.join(map(_work, besides))}"
    others = sum(row.others for row in report.rows)
    if others:
        why = "failed, cancelled or of unknown energy"
        yield f"not in the means: {counted(others, 'request')}, {why}"
    if report.pending:
        yield f"not settled yet: {counted(report.pending, 'request')}"
    if report.degraded:
        yield f"note: {printable(report.degraded, 300)}"


def _kinds(report: StudyReport) -> Iterator[str]:
    for kind in dict.fromkeys(kind for _, kind in report.model_kinds):
        models = [printable(model) for model, of_kind in report.model_kinds if of_kind == kind]
        yield f"{kind}: {', '.join(models)}"


def _work(work: WorkTotals) -> str:
    return f"{work.work.value} {energy(work.energy)} ({counted(work.requests, 'request')})"


def significant(value: float | None) -> str:
    """Return three significant digits, with an exponent only for the very small; ``-`` is not known."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if abs(value) < _SMALL:
        return f"{value:.2e}"
    return f"{value:,.{max(0, 2 - floor(log10(abs(value))))}f}"


def _figures(row: StudyRow) -> Iterator[str]:
    yield str(row.requests)
    yield significant(row.kwh_per_1000)
    yield significant(row.kwh_per_1000_deviation)
    yield significant(row.grams_per_1000)
    yield significant(row.charges_per_1000)
    yield significant(row.km_per_1000)


def _carbon(report: StudyReport) -> str:
    carbon = report.carbon
    if carbon is None:
        return "carbon: no zone, so no CO2e (--zone)"
    year = f", {carbon.year}" if carbon.year is not None else ""
    return (
        f"carbon: {carbon.zone}, {mass(carbon.intensity)}/kWh, {carbon.basis}-based ({carbon.source}{year})"
    )


def _books(report: StudyReport) -> str:
    measured = sum(origin.measured_joules for origin in report.origins)
    idle = sum(origin.idle_joules for origin in report.origins)
    unattributed = sum(origin.unattributed_joules for origin in report.origins)
    requests = measured - idle - unattributed
    parts = f"{requests:.3f} J requests + {idle:.3f} J idle + {unattributed:.3f} J unattributed"
    sums = f"{parts} = {measured:.3f} J"
    if report.balanced:
        return f"the books balance to the microjoule: {sums}"
    error = sum(abs(origin.error_microjoules) for origin in report.origins)
    return f"THE BOOKS ARE OFF by {error} µJ: {sums}"


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M UTC")
