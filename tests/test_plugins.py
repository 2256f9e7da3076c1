"""The folder is the registry."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from joulegate import plugins
from joulegate.config import Config
from joulegate.config.problems import dotted
from joulegate.errors import ConfigError, PluginError


@pytest.mark.parametrize("kind", plugins.KINDS, ids=lambda kind: kind.name)
def test_every_module_of_the_folder_is_a_plugin(kind: plugins.PluginKind[Any]) -> None:
    """What is listed can be loaded and has the one class that makes it a plug-in."""
    names = plugins.names(kind)
    assert names
    for name in names:
        assert isinstance(plugins.load(kind, name).Plugin, type)


def test_an_unknown_name_is_told_with_the_choices() -> None:
    """A slip in the configuration names what there is."""
    with pytest.raises(PluginError, match=r"no plug-in 'nvlm' .did you mean 'nvml'.*; there are .*nvml"):
        plugins.load(plugins.SOURCES, "nvlm")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third-party distribution with a source of its own, and one that has a built-in's name."""
    (tmp_path / "meterless.py").write_text("class Plugin: ...\n")
    info = tmp_path / "meterless-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: meterless\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[joulegate.sources]\nmeterless = meterless\nnvml = meterless\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_entry_points_add_plugins() -> None:
    """A package that is installed beside joulegate offers its plug-in by name."""
    assert "meterless" in plugins.names(plugins.SOURCES)
    assert plugins.load(plugins.SOURCES, "meterless").__name__ == "meterless"


@pytest.mark.usefixtures("installed")
def test_a_name_that_two_offer_is_refused() -> None:
    """Nobody finds out by accident whose GPU reader it was."""
    with pytest.raises(PluginError, match="'nvml' is offered more than once"):
        plugins.load(plugins.SOURCES, "nvml")


THIRD_PARTY = {
    "raises": "raise RuntimeError('no licence')",
    "empty": "",
    "stubborn": "class Plugin:\n    def __init__(self): raise OSError('no such device')",
    "poor": "class Plugin:\n    def open(self): return ()",
}


@pytest.fixture
def wrong_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third-party distribution whose sources and protocols are broken, each in a way of its own."""
    for name, source in THIRD_PARTY.items():
        (tmp_path / f"wrong_{name}.py").write_text(source + "\n")
    info = tmp_path / "wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    lines = "".join(f"{name} = wrong_{name}\n" for name in THIRD_PARTY)
    (info / "entry_points.txt").write_text(f"[joulegate.sources]\n{lines}[joulegate.protocols]\n{lines}")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("wrong_ones")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "'raises' cannot be imported from wrong_raises: RuntimeError: no licence"),
        ("empty", "wrong_empty has no class Plugin"),
        ("stubborn", "'stubborn' cannot be built: OSError: no such device"),
        ("poor", "'poor' is no plug-in of this kind: its Plugin lacks .*EnergySource"),
    ],
)
def test_a_broken_plugin_is_one_clear_message(name: str, message: str) -> None:
    """Whatever a third party's code does when it is built, the message says whose it is and what happened."""
    with pytest.raises(PluginError, match=f"sources: {message}"):
        plugins.build(plugins.SOURCES, name)


@pytest.mark.usefixtures("wrong_ones")
def test_broken_plugins_leave_the_others_alone() -> None:
    """The protocols that work are there beside those that do not."""
    built, broken = plugins.build_all(plugins.PROTOCOLS)
    assert "openai" in built
    assert len(broken) == len(THIRD_PARTY)


@pytest.mark.parametrize(
    ("table", "place", "what"),
    [
        ({"energy": {"options": {"rapl": {"rot": "/"}}}}, "energy.options.rapl.rot", "did you mean 'root'"),
        ({"energy": {"options": {"fake": {"gpus": "x"}}}}, "energy.options.fake.gpus", "whole number"),
        ({"energy": {"options": {"nvml": {"a": 1}}}}, "energy.options.nvml", "has no options"),
        ({"carbon": {"options": {"table": {"zon": "FRA"}}}}, "carbon.options.table.zon", "mean 'zone'"),
        ({"exporter": {"prometheus": {"a": 1}}}, "exporter.prometheus", "has no options"),
    ],
)
def test_wrong_options_have_their_place(table: dict[str, Any], place: str, what: str) -> None:
    """Each wrong option is told at its own key, with the near name or what is expected."""
    found = list(plugins.option_problems(convert(table, Config)))
    assert [dotted(problem.path) for problem in found][:1] == [place]
    assert what in found[0].what


def test_a_built_plugin_refuses_wrong_options_itself() -> None:
    """Options that no file holds are checked all the same."""
    with pytest.raises(ConfigError, match=r"energy\.options\.fake\.gpu: unknown key"):
        plugins.build(plugins.SOURCES, "fake", {"gpu": 1})
