"""The folder is the registry."""

from pathlib import Path

import pytest

from joulegate import plugins
from joulegate.errors import PluginError


@pytest.mark.parametrize("kind", sorted(plugins.PACKAGES))
def test_every_module_of_the_folder_is_a_plugin(kind: str) -> None:
    """What is listed can be loaded and has the one class that makes it a plug-in."""
    names = plugins.names(kind)
    assert names
    for name in names:
        assert isinstance(plugins.load(kind, name).Plugin, type)


def test_an_unknown_name_is_told_with_the_choices() -> None:
    """A slip in the configuration names what there is."""
    with pytest.raises(PluginError, match=r"no plug-in 'nvlm'; there are .*nvml"):
        plugins.load("sources", "nvlm")


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
    assert "meterless" in plugins.names("sources")
    assert plugins.load("sources", "meterless").__name__ == "meterless"


@pytest.mark.usefixtures("installed")
def test_a_name_that_two_offer_is_refused() -> None:
    """Nobody finds out by accident whose GPU reader it was."""
    with pytest.raises(PluginError, match="'nvml' is offered more than once"):
        plugins.load("sources", "nvml")
