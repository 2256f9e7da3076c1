"""``check`` says whether joulegate would start, and with which values."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
URL = "http://127.0.0.1:8000"


def test_a_good_command_line(joulegate: Run) -> None:
    """What would run is said in one line."""
    result = joulegate("check", "--upstream", URL, "--zone", "FRA", XDG_STATE_HOME="/state")
    assert result.exit_code == 0
    assert result.output.startswith("ok: 127.0.0.1:8080 in front of default; admin on 127.0.0.1:9464")


def test_a_bad_file_gives_all_problems(joulegate: Run, tmp_path: Path) -> None:
    """Exit code 2, one line for each problem, with the place."""
    path = tmp_path / "c.toml"
    path.write_text('[listen]\nadress = "x"\n[[upstream]]\nname = "a"\nurl = "x"\n')
    result = joulegate("check", "--config", str(path))
    assert result.exit_code == 2
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [f"{path}:2", f"{path}:5"]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            '[[upstream]]\nname = "s"\nurl = "https://h"\npath = "/s"\nca_file = "/no/ca.pem"',
            "/no/ca.pem cannot be",
        ),
        ('[carbon]\nzone = "FRX"', "did you mean"),
        ('[[route]]\npath = "/p"\nlike = "/invocatons"', "no protocol knows POST '/invocatons'"),
        ("[energy.options.fake]\ngpu = 2", "energy.options.fake"),
        ('[energy]\nsource = "nvlm"', "did you mean 'nvml'?"),
        ('[[tenant]]\nname = "t"\nkey_env = "JOULEGATE_TEST_NO_SUCH"', "JOULEGATE_TEST_NO_SUCH is not set"),
        ('exporters = ["promethus"]', "did you mean 'prometheus'?"),
    ],
)
def test_what_only_plugins_and_environment_know(text: str, what: str, joulegate: Run, tmp_path: Path) -> None:
    """Zones, options of sources and variables are checked too."""
    path = tmp_path / "c.toml"
    path.write_text(f'{text}\n[[upstream]]\nname = "a"\nurl = "{URL}"\n')
    result = joulegate("check", "--config", str(path))
    assert result.exit_code == 2
    assert what in result.stderr


def test_explain_names_each_origin_and_no_secret(joulegate: Run, tmp_path: Path) -> None:
    """Every effective value stands with its origin; secrets stay out of sight."""
    path = tmp_path / "c.toml"
    path.write_text(f'[[upstream]]\nname = "a"\nurl = "{URL}"\n[[tenant]]\nname = "t"\nkey_env = "T_KEY"\n')
    result = joulegate("check", "--config", str(path), "--listen", "127.0.0.1:0", "--explain", T_KEY="canary")
    lines = dict(line.split("  # ") for line in result.output.splitlines() if "  # " in line)
    origins = {left.split(" = ")[0]: origin for left, origin in lines.items()}
    assert origins["listen.address"] == "--listen"
    assert origins["listen.gates"] == "default"
    assert origins["upstream[0].url"] == f"{path}:3"
    assert "canary" not in result.output


def test_json(joulegate: Run) -> None:
    """A program gets the same values."""
    answer = json.loads(joulegate("check", "--upstream", URL, "--json").output)
    assert answer["ok"]
    assert {"key": "upstream[0].url", "value": f'"{URL}"', "origin": "--upstream"} in answer["settings"]
