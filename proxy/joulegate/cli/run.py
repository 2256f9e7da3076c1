"""``joulegate run``: one meter and its gates in front of one or more servers."""

import sys
from typing import Any

import click

from joulegate.cli.options import Settings, serving


@click.command("run")
@click.option(
    "--upstream",
    multiple=True,
    metavar="[NAME=]URL[,URL…]",
    help="An inference server. Given again, each further one needs a name and is reached under /NAME.",
)
@serving
def command(upstream: tuple[str, ...], **options: Any) -> None:
    """Stand in front of inference servers and meter them.

    Ctrl-C and SIGTERM let running requests end.
    """
    settings = Settings(**options)
    config = settings.resolved(upstream).config
    from joulegate.app import run  # late: a wrong option is told before anything heavy is imported

    run(config, logging=settings.logging(), banner=banner(settings))


def banner(settings: Settings) -> tuple[str, ...]:
    """Return the program that shows the start-up screen; none if it is not wanted."""
    return () if settings.quiet else (sys.executable, "-m", "joulegate.cli.banner")
