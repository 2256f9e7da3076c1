"""The picture that ``joulegate top`` shows: status in, rich renderables out. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from joulegate.cli.figures import UNKNOWN, energy, mass, power, printable, share, span
from joulegate.model import (
    BudgetStatus,
    DeviceStatus,
    MeterStatus,
    TaskTotals,
    Tier,
    UpstreamStatus,
    WorkClass,
)
from joulegate.units import NANO, Micrograms, Microjoules, Microwatts

_WORDS = {
    Tier.COUNTER: "measured (energy counter)",
    Tier.POWER: "measured (power readings)",
    Tier.ESTIMATE: "watts are MODELLED, not measured",
    Tier.SYNTHETIC: "watts are MADE UP, nothing is measured",
}
_BAR = 20
_TITLES = 2
"""Lines of a table besides its rows."""


class Seen(Struct, frozen=True):
    """What is known of the meter: its last answer, the one before, and why there is none now."""

    status: MeterStatus | None = None
    before: MeterStatus | None = None
    trouble: str = ""


def picture(seen: Seen, width: int, height: int) -> RenderableType:
    """Return one frame that fits into so many columns and lines."""
    trouble = [Text(printable(seen.trouble, 4 * width), style="bold red")] if seen.trouble else []
    status = seen.status
    if status is None:
        return Group(*trouble, Text("retrying every second; Ctrl-C quits", style="dim"))
    top = [*trouble, *_header(status)]
    bottom = _footer(status)
    lines = height - sum(_lines(text, width) for text in (*top, *bottom)) - 1
    sections = [section for section in _sections(seen, status, width) if section.rows]
    shares = fit([len(section.rows) + _TITLES for section in sections], lines)
    tables = [section.table(share) for section, share in zip(sections, shares, strict=True)]
    return Group(*top, *(table for table in tables if table is not None), *bottom)


def fit(wanted: Sequence[int], room: int) -> list[int]:
    """Share lines fairly: who wants little gets it, the others get equal parts of what is left."""
    granted = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for position, index in enumerate(order):
        granted[index] = min(wanted[index], max(room, 0) // (len(order) - position))
        room -= granted[index]
    return granted


class Section:
    """A table that can be cut to a number of lines."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[str]], rest: str = "more") -> None:
        self._columns = columns
        self.rows = rows
        self._rest = rest

    def table(self, lines: int) -> Table | None:
        """Return the table in at most so many lines, with a word about rows that had no room."""
        room = lines - _TITLES
        if room < 1:
            return None
        shown = self.rows if len(self.rows) <= room else self.rows[: room - 1]
        table = Table(box=None, expand=True, pad_edge=False, header_style="bold cyan")
        for column in self._columns:
            right = column.startswith(">")
            table.add_column(
                column.removeprefix(">"),
                justify="right" if right else "left",
                no_wrap=True,
                overflow="ellipsis",
                ratio=None if right else 1,
                min_width=None if right else 6,
            )
        for row in shown:
            table.add_row(*(Text(cell) for cell in row))
        if len(shown) < len(self.rows):
            table.add_row(Text(f"… {len(self.rows) - len(shown)} {self._rest}", style="dim"))
        table.add_row()
        return table


def _header(status: MeterStatus) -> list[Text]:
    tier = max((found.device.tier for found in status.devices), key=list(Tier).index, default=None)
    sources = ", ".join(sorted({found.device.source for found in status.devices}))
    modelled = tier in {Tier.ESTIMATE, Tier.SYNTHETIC, None}
    words = f"{sources}: {_WORDS[tier]}" if tier else "no energy source: nothing is measured"
    line = Text.assemble(
        (f"joulegate {status.version}", "bold"),
        f"  up {span(status.uptime)}  ",
        (words, "bold yellow" if modelled else "green"),
        "  ",
        books(status),
    )
    return [
        line,
        *([Text(printable(status.degraded, 300), style="yellow")] if status.degraded else []),
        Text(),
    ]


def books(status: MeterStatus) -> tuple[str, str]:
    """Whether the books balance, and the style to say it in."""
    error = sum(abs(found.conservation_error) for found in status.devices)
    return ("books balance", "green") if error == 0 else (f"books are off by {error} µJ", "bold red")


def _footer(status: MeterStatus) -> list[Text]:
    carbon = status.carbon
    grid = f"{carbon.zone} {mass(carbon.intensity)}/kWh" if carbon else "no zone, so no CO2e (--zone)"
    gates = sum(gate.connected for gate in status.gates)
    ledger = f"ledger {status.ledger.rows} rows" if status.ledger else "no ledger"
    parts = [grid, f"boundary {status.boundary}", f"method {status.method}", ledger]
    if status.ledger and status.ledger.write_errors:
        parts.append(f"ledger FAILS, {status.ledger.backlog} waiting")
    parts += [
        f"{work.work.value} {energy(work.energy)}"
        for work in status.works
        if work.work is not WorkClass.INFERENCE
    ]
    parts += [f"{gates}/{len(status.gates)} gates", f"{status.pending} unsettled"]
    return [Text(printable("  ".join(parts), 300), style="dim")]


def _lines(text: Text, width: int) -> int:
    return max(1, -(-text.cell_len // max(width, 1)))


def _sections(seen: Seen, status: MeterStatus, width: int) -> Iterable[Section]:
    wide = width >= 100
    yield Section(
        ("device", ">now", ">idle", ">energy", ">requests", ">idle", ">other", "state"),
        [_device(found, wide) for found in status.devices],
        "more devices",
    )
    yield Section(
        ("upstream", "address", ">in flight", "state"),
        [row for found in status.upstreams for row in _upstream(found)],
        "more upstreams",
    )
    rates = task_power(seen)
    totals = sorted(status.totals, key=lambda found: found.energy, reverse=True)
    yield Section(
        ("task", "model", ">requests", ">per request", ">energy", ">CO2e", ">now"),
        [_task(found, rates) for found in totals],
        "more tasks and models with less energy",
    )
    yield Section(
        ("budget", ">used", ">limit", "bar"), [_budget(found) for found in status.budgets], "more budgets"
    )


def _device(found: DeviceStatus, wide: bool) -> Sequence[str]:
    device = found.device
    name = f"{device.index} {device.name} {device.id}" if wide else f"{device.index} {device.name}"
    other = sum(part for _, part in found.unattributed)
    shares = (share(part, found.measured) for part in (found.requests, found.idle, other))
    return (
        printable(name),
        power(found.power),
        power(found.idle_power),
        energy(found.measured),
        *shares,
        _device_state(found),
    )


def _device_state(found: DeviceStatus) -> str:
    if found.stalled:
        return "STALLED"
    return "ok" if found.up else "LOST"


_STATES = {True: "up", False: "DOWN", None: "not known yet"}


def _upstream(found: UpstreamStatus) -> Iterator[Sequence[str]]:
    """Return a row of an upstream, and one of each of its replicas if it has several."""
    parts = [_STATES[found.up], found.kind if found.kind != "auto" else "", found.version, found.note]
    parts += ["WORKS ON when clients leave"] if found.keeps_working else []
    state = ", ".join(part for part in parts if part)
    several = len(found.replicas) > 1
    place = f"{len(found.replicas)} replicas" if several else found.url
    yield printable(found.name), printable(place), str(found.in_flight), printable(state)
    for one in found.replicas if several else ():
        state = ", ".join(part for part in (_STATES[one.up], one.note) if part)
        yield "", printable(one.name), str(one.in_flight), printable(state)


def _task(found: TaskTotals, rates: "Callable[[TaskTotals], Microwatts | None]") -> Sequence[str]:
    each = Microjoules(found.energy // found.requests) if found.requests else None
    return (
        found.task.value,
        printable(f"{found.model} ({found.model_kind})" if found.model_kind else found.model),
        str(found.requests),
        energy(each),
        energy(found.energy),
        mass(found.emissions),
        power(rates(found)),
    )


def task_power(seen: Seen) -> "Callable[[TaskTotals], Microwatts | None]":
    """Return a function from totals to the power settled on them between the last two answers."""
    status, before = seen.status, seen.before
    if status is None or before is None or status.now <= before.now:
        return lambda _: None
    elapsed = status.now - before.now
    earlier = {(total.task, total.model): total.energy for total in before.totals}

    def rate(total: TaskTotals) -> Microwatts | None:
        grown = total.energy - earlier.get((total.task, total.model), Microjoules(0))
        return Microwatts(grown * NANO // elapsed) if grown >= 0 else None

    return rate


def _budget(found: BudgetStatus) -> Sequence[str]:
    def shown(value: int) -> str:
        return energy(Microjoules(value)) if found.unit == "joules" else mass(Micrograms(value))

    return printable(found.name), shown(found.used), shown(found.limit), bar(found.used, found.limit)


def bar(used: int, limit: int) -> str:
    """Return a bar of used parts and the percentage; a bar over its limit is full."""
    if limit <= 0:
        return UNKNOWN
    full = min(_BAR, _BAR * used // limit)
    return f"{'█' * full}{'░' * (_BAR - full)} {share(used, limit)}"
