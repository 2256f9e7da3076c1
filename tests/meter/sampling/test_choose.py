"""The choice of the energy source."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from joulegate import plugins
from joulegate.errors import ConfigError, PluginError, SourceUnavailable
from joulegate.meter.sampling.choose import Choice, choose
from joulegate.model import Device
from joulegate.ports.plugins import Context
from joulegate.sources import cpu_estimate, fake, rapl
from joulegate.testing.source import ScriptedSource, gpu

SERVED = Context({"llm": [("127.0.0.1", 1)]})


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Sources by name, in place of the folder."""
    modules: dict[str, Any] = {"cpu_estimate": cpu_estimate, "rapl": rapl, "fake": fake}

    def load(_kind: plugins.PluginKind[Any], name: str) -> Any:
        if name not in modules:
            raise PluginError(f"sources: no plug-in {name!r}")
        return modules[name]

    monkeypatch.setattr(plugins, "load", load)
    monkeypatch.setattr(plugins, "names", lambda _kind: list(modules))
    return modules


def _module(source: ScriptedSource, order: int = 10) -> SimpleNamespace:
    class Plugin:
        def __new__(cls) -> Any:
            return source

    Plugin.order = order  # type: ignore[attr-defined]
    return SimpleNamespace(Plugin=Plugin)


def _broken(message: str) -> SimpleNamespace:
    return _module(ScriptedSource(open_error=SourceUnavailable(message)))


def test_the_best_that_works_is_chosen(modules: dict[str, Any]) -> None:
    """A GPU that can be measured comes before everything else."""
    modules["nvml"] = _module(ScriptedSource([gpu(0), gpu(1)]))
    choice = choose("auto", {}, Context())
    assert (choice.name, choice.passed_over) == ("nvml", ())
    assert choice.reason() == "nvml: 2 devices"


def test_what_was_passed_over_has_its_reason(modules: dict[str, Any], tmp_path: Path) -> None:
    """The choice says why nothing better works."""
    modules["nvml"] = _broken("no driver; install it")
    options = {"rapl": {"root": str(tmp_path)}}
    choice = choose("auto", options, SERVED)
    assert choice.name == "cpu_estimate"
    assert [name for name, _ in choice.passed_over] == ["nvml", "rapl"]
    assert "no driver; install it" in choice.reason()
    assert [device.id for device in choice.devices] == ["cpu:llm"]


def test_made_up_energy_is_never_chosen(modules: dict[str, Any], tmp_path: Path) -> None:
    """When nothing works, that is said with all reasons; figures are not invented."""
    modules["nvml"] = _broken("no driver")
    with pytest.raises(SourceUnavailable, match=r"nvml: no driver; rapl: .*; cpu_estimate: no server"):
        choose("auto", {"rapl": {"root": str(tmp_path)}}, Context())


def test_a_named_source_is_taken_or_its_error_given(modules: dict[str, Any]) -> None:
    """A source that the user names is not replaced by another one."""
    modules["nvml"] = _broken("no driver; install it")
    assert choose("fake", {"fake": {"gpus": 3}}, Context()).devices[2].index == 2
    with pytest.raises(SourceUnavailable, match="no driver; install it"):
        choose("nvml", {}, SERVED)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fake", {"gpu": 1}),
        ("fake", {"gpus": "many"}),
        ("fake", {"gpus": 0}),
        ("fake", {"idle_watts": "60"}),
        ("cpu_estimate", {"watts_per_core": "5 kg"}),
        ("nvml", {"anything": 1}),
    ],
)
def test_wrong_options_name_the_key(modules: dict[str, Any], name: str, options: dict[str, Any]) -> None:
    """A wrong setting is an error of the configuration, at its place."""
    modules["nvml"] = _module(ScriptedSource())
    with pytest.raises(ConfigError, match=rf"energy\.options\.{name}"):
        plugins.build(plugins.SOURCES, name, options)


def test_an_unknown_source_names_the_choices() -> None:
    """A name that nobody knows is refused with the names there are."""
    with pytest.raises(PluginError, match="nvml"):
        choose("nvlm", {}, Context())


class Hanging(ScriptedSource):
    """A source whose driver hangs when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def open(self) -> Sequence[Device]:
        self.go_on.wait(30)
        return super().open()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    source = Hanging()
    yield source
    source.go_on.set()


def test_a_driver_that_hangs_is_passed_over(modules: dict[str, Any], hanging: Hanging) -> None:
    """A source that does not open in time is left behind, and joulegate starts without it."""
    modules["nvml"] = _module(hanging)
    began = time.monotonic()
    choice = choose("auto", {}, SERVED, patience=1.0)
    assert time.monotonic() - began < 5
    assert choice.passed_over[0][0] == "nvml"
    assert "hangs" in choice.passed_over[0][1]


def test_a_fault_of_a_plugin_is_a_reason(modules: dict[str, Any]) -> None:
    """An exception that a source should not raise does not stop the choice."""

    class Faulty(ScriptedSource):
        def open(self) -> Sequence[Device]:
            raise ZeroDivisionError

    modules["nvml"] = _module(Faulty())
    choice = choose("auto", {}, SERVED)
    assert "ZeroDivisionError" in dict(choice.passed_over)["nvml"]


def test_one_device_is_singular() -> None:
    """The reason is a sentence for a person."""
    assert Choice("nvml", ScriptedSource(), [gpu()]).reason() == "nvml: 1 device"
