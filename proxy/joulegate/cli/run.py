"""``joulegate run``: one meter and its gates in front of one or more servers."""

from typing import Any

import click

from joulegate.cli.banner import show
from joulegate.cli.options import Settings, serving
from joulegate.config.structs import Config


@click.command("run")
@click.option(
    "--upstream",
    multiple=True,
    metavar="[NAME=]URL[,URL…]",
    help="An inference server. Given again, each further one needs a name and is reached under /NAME.",
)
@serving
@click.pass_context
def command(ctx: click.Context, /, upstream: tuple[str, ...], **options: Any) -> None:
    """Stand in front of inference servers and meter them.

    Ctrl-C and SIGTERM let running requests end.
    """
    settings = Settings(**options)
    config = settings.resolved(upstream).config
    ctx.exit(serve(config, settings))


def serve(config: Config, settings: Settings) -> int:
    """Run until told to stop; return the exit code."""
    from joulegate.app import run  # late: a wrong option is told before anything heavy is imported

    settings.start_log()
    return run(config, logging=settings.logging(), banner=show if not settings.quiet else _silent)


def _silent(_: object) -> None:
    """Show no banner."""
