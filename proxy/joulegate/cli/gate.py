"""``joulegate gate``: one relay process; ``joulegate run`` starts these by itself."""

from pathlib import Path
from typing import Any

import click

from joulegate.cli.options import Settings, serving, socket_path


@click.command("gate")
@click.option("--upstream", multiple=True, metavar="[NAME=]URL[,URL…]", help="As in joulegate run.")
@socket_path
@serving
@click.pass_context
def command(ctx: click.Context, /, upstream: tuple[str, ...], socket: Path, **options: Any) -> None:
    """Run one relay process alone.

    It reports to the meter that listens on the socket, and relays on when that one is gone.
    """
    settings = Settings(**options)
    config = settings.resolved(upstream).config
    from joulegate.app import run_gate  # late: a wrong option is told before anything heavy is imported

    settings.start_log()
    ctx.exit(run_gate(config, socket=socket))
