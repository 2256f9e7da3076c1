"""The table of commands: light to start, clear when it refuses."""

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module

import click
import pytest
from click.testing import CliRunner, Result

from joulegate import __version__
from joulegate.cli.root import COMMANDS, Commands, root
from joulegate.errors import ConfigError, JoulegateError, PluginError, SourceUnavailable

Run = Callable[..., Result]
HEAVY = (
    "aiohttp",
    "numpy",
    "rich",
    "asyncio",
    "msgspec",
    "prometheus_client",
    "structlog",
    "psutil",
    "pynvml",
)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    """Both answer at once, whatever the commands need."""
    code = (
        "import sys\nfrom joulegate.cli import main\nsys.argv = ['joulegate', sys.argv[1]]\n"
        "try:\n main()\nexcept SystemExit as end:\n assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert ("Commands:" if option == "--help" else __version__) in done.stdout


def test_help_names_every_command(joulegate: Run) -> None:
    """The table and the help are one."""
    shown = joulegate("--help").output
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "joulegate run --upstream" in shown


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_can_be_imported_and_says_what_it_does(name: str) -> None:
    """Each line of the table leads to a command with help for each option."""
    command = import_module(COMMANDS[name][0]).command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_an_unknown_command_comes_with_a_near_one(joulegate: Run) -> None:
    """A slip is told with exit code 2 and what may have been meant."""
    result = joulegate("docter")
    assert result.exit_code == 2
    assert "Did you mean 'doctor'?" in result.output
    assert "There are run, wrap" in joulegate("zzz").output


def command_that(raises: BaseException) -> Commands:
    def fail() -> None:
        raise raises

    return Commands("joulegate", callback=fail, invoke_without_command=True, no_args_is_help=False)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a\nb"), 2),
        (PluginError("a\nb"), 2),
        (SourceUnavailable("a\nb"), 1),
        (JoulegateError("a\nb"), 1),
    ],
)
def test_an_error_of_joulegate_is_a_message_and_a_code(error: JoulegateError, code: int) -> None:
    """No traceback; each line of the message names the program."""
    result = CliRunner().invoke(command_that(error))
    assert result.exit_code == code
    assert result.stderr == "joulegate: a\njoulegate: b\n"
    assert result.stdout == ""


def test_ctrl_c_ends_with_130() -> None:
    """An interrupted command ends as shells expect it."""
    assert CliRunner().invoke(command_that(KeyboardInterrupt())).exit_code == 130


def test_python_m_joulegate() -> None:
    """The module runs as the command does."""
    done = subprocess.run(
        [sys.executable, "-m", "joulegate", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"joulegate {__version__}\n"
    assert root.name == "root"
