"""``joulegate top``: the meter's figures live in a terminal."""

import sys
from threading import Event

import click
from rich.console import Console
from rich.live import Live

from joulegate.cli import admin as meter
from joulegate.cli.options import admin_address, as_json
from joulegate.cli.screen import Seen, picture


@click.command("top")
@admin_address
@click.option(
    "--once", is_flag=True, help="Print one frame and end; so it is where the output is no terminal."
)
@click.option("--interval", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds.")
@as_json
def command(admin: str, once: bool, interval: float, as_json: bool) -> None:
    """Watch requests, joules and watts live.

    --json prints one status and ends. Ctrl-C quits.
    """
    if as_json:
        click.echo(meter.ask(admin, "/v1/status"))
    elif once or not sys.stdout.isatty():
        _once(admin)
    else:
        _live(admin, interval)


def _once(admin: str) -> None:
    console = Console(highlight=False)
    # A page has no end, so nothing is cut.
    console.print(picture(Seen(meter.status(admin)), console.width, height=10_000))


def _live(admin: str, interval: float) -> None:
    console = Console(highlight=False)
    seen = Seen()
    pause = Event()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                seen = look(admin, seen)
                live.update(picture(seen, console.width, console.height), refresh=True)
                pause.wait(interval)
        except KeyboardInterrupt:
            return  # the usual way to leave


def look(admin: str, seen: Seen) -> Seen:
    """Ask the meter; if it does not answer, keep the last figures and say so."""
    try:
        return Seen(meter.status(admin), seen.status)
    except meter.NoAnswer as error:
        return Seen(seen.status, seen.before, str(error))
