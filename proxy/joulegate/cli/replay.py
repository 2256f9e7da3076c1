"""``joulegate replay``: settle a recorded trace again, by any rule."""

import os
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from joulegate.cli.figures import counted
from joulegate.errors import TraceError
from joulegate.replay import METHODS, Result, document, read
from joulegate.replay import replay as run
from joulegate.units import MICRO, nanoseconds

MALFORMED = 65
"""Exit code for a malformed trace (EX_DATAERR of sysexits.h)."""
CANNOT_WRITE = 73
"""Exit code if the result cannot be written (EX_CANTCREAT)."""
FILE = click.Path(path_type=Path)


@click.command(name="replay")
@click.option("--trace", required=True, type=FILE, help="Requests as the proxy saw them (trace.jsonl).")
@click.option("--samples", required=True, type=FILE, help="Readings of the energy counters (nvml.jsonl).")
@click.option("--setup", required=True, type=FILE, help="Upstreams and devices (public.json).")
@click.option("--out", required=True, help="Where the result goes; - is standard output.")
@click.option(
    "--method", default="step-clock", type=click.Choice(METHODS), show_default=True, help="The rule."
)
@click.option(
    "--settle",
    default=30.0,
    type=click.FloatRange(min=0, max=86_400),
    show_default=True,
    help="Seconds from a request's end to its final figure.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    trace: Path, samples: Path, setup: Path, out: str, method: str, settle: float, *, as_json: bool
) -> None:
    """Settle a recorded trace by the very rules of the meter.

    Exits with 65 if a file is malformed, and then writes no result.
    """
    try:
        result = run(read(trace, samples, setup), method, nanoseconds(settle))
    except TraceError as error:
        click.echo(str(error), err=True)
        sys.exit(MALFORMED)
    text = msgspec.json.format(msgspec.json.encode(document(result)), indent=1) + b"\n"
    if out == "-":
        sys.stdout.buffer.write(text)
        return
    try:
        _write(Path(out), text)
    except OSError as error:
        click.echo(f"{out}: {error.strerror or error}", err=True)
        sys.exit(CANNOT_WRITE)
    click.echo(_summary(result, as_json=as_json))


def _write(path: Path, text: bytes) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
    temporary = Path(file.name)
    try:
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _summary(result: Result, *, as_json: bool) -> str:
    figures = document(result)
    total = sum(books.requests for books in result.books)
    figures["requests_uj"] = total
    figures["requests"] = len(result.requests)
    if as_json:
        return msgspec.json.encode(figures).decode()
    return (
        f"{counted(len(result.requests), 'request')} by {result.method}: {total / MICRO:.1f} J of "
        f"{figures['counter_uj'] / MICRO:.1f} J measured, {figures['idle_uj'] / MICRO:.1f} J idle, "
        f"{figures['unattributed_uj'] / MICRO:.1f} J unattributed, {figures['gaps_s']:.1f} s unknown"
    )
