"""Options become settings, and the document names each of them."""

from importlib import import_module
from pathlib import Path

import click
import pytest

from joulegate.cli.options import Settings, known_plugins
from joulegate.cli.root import COMMANDS
from joulegate.errors import ConfigError

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_in_the_document(name: str) -> None:
    """docs/cli.md says what --help says."""
    command = import_module(COMMANDS[name][0]).command
    assert f"`joulegate {name}" in DOCUMENT
    options = [option.opts[0] for option in command.params if isinstance(option, click.Option)]
    assert not [option for option in options if f"`{option}" not in DOCUMENT]


def test_options_win_over_the_file(tmp_path: Path) -> None:
    """What stands on the command line is in force."""
    path = tmp_path / "c.toml"
    path.write_text('[listen]\naddress = "127.0.0.1:1"\nadmin = "127.0.0.1:2"\n')
    settings = Settings(config=path, listen="127.0.0.1:3", source="fake", ledger=":memory:")
    config = settings.resolved(("http://127.0.0.1:4",)).config
    assert (str(config.listen.address), str(config.listen.admin)) == ("127.0.0.1:3", "127.0.0.1:2")
    assert (config.energy.source, config.ledger.path) == ("fake", ":memory:")


def test_plugins_are_known_by_name() -> None:
    """A source that nobody offers is refused with the choices."""
    assert "nvml" in known_plugins()["sources"]
    with pytest.raises(ConfigError, match=r"there are auto, .*rapl"):
        Settings(source="nothing").resolved(("http://127.0.0.1:4",))
