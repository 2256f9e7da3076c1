"""The start-up screen: what was detected, in words, so that nothing is guessed silently.

``python -m joulegate.cli.banner DIRECTORY`` shows it for a run: a process of its own, so that nobody keeps in
memory what it needs, and a driver that hangs holds up nothing but the screen.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from joulegate.model import CarbonStatus, Tier
from joulegate.model.banner import Banner, FoundUpstream
from joulegate.units import grams, watts

_INDENT = 11
_TIERS = {
    Tier.COUNTER: "measured by a hardware energy counter",
    Tier.POWER: "power readings added up over time",
    Tier.ESTIMATE: "watts are MODELLED from activity, not measured",
    Tier.SYNTHETIC: "watts are MADE UP for trying things out, nothing is measured",
}


def show(found: Banner) -> None:
    """Print the banner to standard output."""
    width = min(shutil.get_terminal_size().columns, 110)
    for line in render(found, width):
        click.echo(line)


def render(found: Banner, width: int) -> list[str]:
    """Return the lines of the screen, none wider than asked for."""
    lines = [click.style(f"joulegate {found.version}", bold=True), ""]
    lines += _block("proxy", [_proxy(found)], width)
    lines += _block("metrics", [f"{found.admin}/metrics"], width)
    for upstream in found.upstreams:
        lines += _block("upstream", _upstream(upstream), width)
    lines += _block("energy", _energy(found), width)
    lines += _block("carbon", [_carbon(found.carbon)], width)
    lines += _block("ledger", [found.ledger] if found.ledger else [], width)
    for note in found.notes:
        lines += _block("note", [note], width)
    return [*lines, ""]


def tier_of(found: Banner) -> Tier | None:
    """Return the poorest tier of the devices: a sum is no better than its worst part."""
    return max((device.tier for device in found.devices), key=list(Tier).index, default=None)


def _proxy(found: Banner) -> str:
    return f"{found.proxy} ({found.gates} gates)" if found.gates > 1 else found.proxy


def _upstream(upstream: FoundUpstream) -> Iterator[str]:
    state = "" if upstream.up is not False else ", does not answer yet: requests get 502 until it does"
    if upstream.up and upstream.away:
        state = f", without {', '.join(upstream.away)} until it answers"
    yield f"{upstream.name}: {upstream.url}{state}, takes {upstream.takes}"
    server = upstream.server or "server type not known"
    models = ", ".join(upstream.models[:4]) + (" …" if len(upstream.models) > 4 else "")
    yield f"{server}; models: {models}" if models else server
    devices = ", ".join(upstream.devices or ()) or "no device of this host"
    yield f"on {devices} ({upstream.how})" if upstream.how else f"on {devices}"


def _energy(found: Banner) -> Iterator[str]:
    tier = tier_of(found)
    if found.source is None or tier is None:
        yield "NONE: requests pass, no energy is measured; `joulegate doctor` says what is missing"
    else:
        yield f"{found.source}: {_TIERS[tier]}"
    for device in found.devices:
        limit = f", limit {watts(device.power_limit):.0f} W" if device.power_limit is not None else ""
        yield f"{device.id}: {device.name}{limit}{f' ({device.note})' if device.note else ''}"
    for name, why in found.passed_over:
        yield f"not {name}: {why}"


def _carbon(carbon: CarbonStatus | None) -> str:
    if carbon is None:
        return "no zone, so no CO2e: set [carbon] zone or --zone, for example --zone FRA"
    year = f", {carbon.year}" if carbon.year is not None else ""
    return f"{carbon.zone}: {grams(carbon.intensity):g} g/kWh ({carbon.source}{year}; {carbon.basis}-based)"


def _block(title: str, texts: Iterable[str], width: int) -> list[str]:
    """Return texts with the title before the first and further lines under it."""
    lines: list[str] = []
    for text in texts:
        lead = f"{'' if lines else title:<{_INDENT - 2}}  "
        lines += textwrap.wrap(
            _printable(text),
            width,
            initial_indent=lead,
            subsequent_indent=" " * (_INDENT + 2),
            break_on_hyphens=False,
        )
    return lines


def _printable(text: str) -> str:
    """Models and servers name themselves: no control character reaches the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


if __name__ == "__main__":
    from joulegate.app.start_screen import look  # late: whoever only writes the screen needs none of it

    banner = look(Path(sys.argv[1]))
    if banner is not None:
        show(banner)
