"""The command ``joulegate``: a table of commands, each imported only when it is run."""

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

import click

from joulegate import __version__
from joulegate.errors import JoulegateError, exit_code, message_lines

NOT_MEASURABLE, INTERRUPTED = 3, 130
"""Exit codes besides those of errors; see docs/cli.md. 130 is 128 + SIGINT, as shells have it."""

COMMANDS = {
    "run": ("joulegate.cli.run", "Stand in front of inference servers and meter them."),
    "wrap": ("joulegate.cli.wrap", "Start an inference server behind joulegate, on its own port."),
    "top": ("joulegate.cli.top", "Watch requests, joules and watts live."),
    "report": ("joulegate.cli.report", "Show energy and emissions per task and model."),
    "doctor": ("joulegate.cli.doctor", "Say what can be measured here, and why."),
    "calibrate": ("joulegate.cli.calibrate", "Correct a board's sensor by an external meter."),
    "check": ("joulegate.cli.check", "Check a configuration without starting anything."),
    "gate": ("joulegate.cli.gate", "Run one relay process alone."),
    "meter": ("joulegate.cli.meter", "Run the metering process alone."),
    "record": ("joulegate.cli.record", "Write what a running meter sees, to be settled again."),
    "replay": ("joulegate.cli.replay", "Settle a recorded trace again."),
}
"""Name, module with a ``command``, and the line in the help."""


class Refused(click.ClickException):
    """An error of joulegate's own, told without a traceback."""

    def __init__(self, error: JoulegateError) -> None:
        super().__init__(str(error))
        self.error = error
        self.exit_code = exit_code(error)  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: object = None) -> None:  # noqa: ARG002 (click's signature)
        """Print each line of the message to standard error."""
        click.echo(message_lines(self.error), err=True, nl=False)


class Commands(click.Group):
    """The table as a click group."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or say which one may have been meant."""
        if cmd_name not in COMMANDS:
            _unknown(ctx, cmd_name)
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; errors of joulegate's own become a message and an exit code."""
        try:
            return super().invoke(ctx)
        except JoulegateError as error:
            raise Refused(error) from error
        except KeyboardInterrupt:
            click.echo(err=True)
            sys.exit(INTERRUPTED)


def _unknown(ctx: click.Context, name: str) -> NoReturn:
    close = get_close_matches(name[:50], COMMANDS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else f" There are {', '.join(COMMANDS)}."
    ctx.fail(f"No such command {name[:50]!r}.{hint}")


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: joulegate run --upstream http://127.0.0.1:8000",
)
@click.version_option(__version__, "-V", "--version", prog_name="joulegate", message="%(prog)s %(version)s")
def root() -> None:
    """Measured GPU energy for each request to an inference server."""
