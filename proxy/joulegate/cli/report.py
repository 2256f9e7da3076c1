"""``joulegate report``: energy and emissions per task and model, in the study's form."""

from pathlib import Path
from urllib.parse import urlencode

import click
import msgspec
from rich.console import Console

from joulegate import clock
from joulegate.cli import admin as meter
from joulegate.cli.options import admin_address, as_json
from joulegate.cli.study import table
from joulegate.ledger.reader import LedgerReader
from joulegate.ledger.rows import BooksTotal
from joulegate.meter.admin.views import instant
from joulegate.report.study import EnergyOrigin, StudyReport, study_row
from joulegate.units import NANO, joules

_NOT_KEPT = "not kept in the ledger"


@click.command("report")
@admin_address
@click.option(
    "--ledger", type=click.Path(path_type=Path), metavar="FILE", help="Read this file and ask no meter."
)
@click.option(
    "--since", default="24 h", show_default=True, metavar="TIME", help='"24 h", a date, or Unix seconds.'
)
@click.option("--until", metavar="TIME", help="The same forms [default: now].")
@click.option(
    "--by",
    default="task,model",
    show_default=True,
    metavar="WORDS",
    help="Of task, model, upstream, tenant, outcome, separated by commas.",
)
@as_json
def command(admin: str, ledger: Path | None, since: str, until: str | None, by: str, as_json: bool) -> None:
    """Show energy and emissions per task and model.

    kWh, g CO2e, phone charges and kilometres by petrol car, each per 1,000 inferences, from a running meter
    or from a ledger's file.
    """
    found = _of_file(ledger, since, until, by) if ledger else _of_meter(admin, since, until, by)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        console = Console(highlight=False)
        console.print(table(found, console.width))


def _of_meter(admin: str, since: str, until: str | None, by: str) -> StudyReport:
    query = {"since": since, "by": by} | ({"until": until} if until else {})
    return meter.decoded(admin, meter.ask(admin, f"/v1/report?{urlencode(query)}"), StudyReport)


def _of_file(path: Path, since: str, until: str | None, by: str) -> StudyReport:
    wall = clock.wall()
    start, end = instant(since, wall), instant(until, wall) if until else wall
    reader = LedgerReader.open(path)
    try:
        rows = reader.report(start, end, [word for word in by.split(",") if word])
        books = reader.books()
    finally:
        reader.close()
    return StudyReport(
        since=start / NANO,
        until=end / NANO,
        boundary=_NOT_KEPT,
        method=_NOT_KEPT,
        degraded="",
        balanced=all(found.error() == 0 for found in books),
        pending=0,
        origins=tuple(_origin(found) for found in books),
        carbon=None,
        rows=tuple(study_row(row) for row in rows),
    )


def _origin(books: BooksTotal) -> EnergyOrigin:
    """The file knows the books of a device and not what it is."""
    return EnergyOrigin(
        device=books.device,
        name="",
        source="ledger",
        tier="of a tier that it does not keep",
        note="",
        measured_joules=joules(books.counter),
        idle_joules=joules(books.idle),
        unattributed_joules=sum(joules(energy) for _, energy in books.unattributed),
        error_microjoules=books.error(),
    )
