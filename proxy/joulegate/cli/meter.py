"""``joulegate meter``: the metering process; ``joulegate run`` starts it by itself."""

from pathlib import Path
from typing import Any

import click

from joulegate.cli.options import Settings, serving, socket_path


@click.command("meter")
@click.option("--upstream", multiple=True, metavar="[NAME=]URL[,URL…]", help="As in joulegate run.")
@socket_path
@serving
@click.pass_context
def command(ctx: click.Context, /, upstream: tuple[str, ...], socket: Path, **options: Any) -> None:
    """Run the metering process alone.

    It owns this host's energy sources, listens for gates on the socket and serves metrics on --admin.
    """
    settings = Settings(**options)
    config = settings.resolved(upstream).config
    from joulegate.app import run_meter  # late: a wrong option is told before anything heavy is imported

    settings.start_log()
    ctx.exit(run_meter(config, socket=socket))
