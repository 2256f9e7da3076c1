"""Each effective value is shown with its origin, and secrets are not."""

from collections.abc import Callable
from pathlib import Path

from joulegate.config.explain import explain
from joulegate.config.layers import Flags
from joulegate.config.load import resolve


def test_values_and_origins(good: str, written: Callable[[str], Path]) -> None:
    """Default, file with line, and flag are told apart."""
    path = written(good + "\n[energy.options.x]\napi_key = 'canary'\nroot = '/sys'\n")
    settings = {setting.key: setting for setting in explain(resolve(path, Flags(admin="127.0.0.1:1")))}
    origins = {key: setting.origin for key, setting in settings.items()}
    assert origins["listen.address"] == f"{path}:2"
    assert origins["listen.admin"] == "--admin"
    assert origins["listen.gates"] == "default"
    assert origins["upstream[1].gpus"] == f"{path}:12"
    assert origins["budget[0].match.upstream"] == f"{path}:20"
    assert origins["budget[0].match.tenant"] == "default"
    assert settings["upstream[1].gpus"].value == '[0, "GPU-1"]'
    assert settings["upstream[1].strip_path"].value == "false"
    assert settings["energy.options.x.root"].value == '"/sys"'
    assert settings["tenant"].value == "[]"
    assert "canary" not in str(settings)


def test_upstreams_of_the_command_line() -> None:
    """What a flag implies is the flag's as well."""
    settings = {
        setting.key: setting.origin for setting in explain(resolve(None, Flags(upstream=["http://h"])))
    }
    assert settings["upstream[0].name"] == "--upstream"
    assert settings["upstream[0].path"] == "default"
