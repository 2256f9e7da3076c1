"""The command ``joulegate replay``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from joulegate.cli.replay import MALFORMED, command

SETUP = {"upstreams": {"llm": {"kind": "llm", "gpus": [0]}}, "n_gpus": 1}


@pytest.fixture
def args(tmp_path: Path) -> list[str]:
    rows = [
        {
            "ev": "start",
            "t": 1,
            "id": "a",
            "upstream": "llm",
            "task": "chat",
            "body_bytes": 100,
            "stream": False,
        },
        {"ev": "end", "t": 3, "id": "a", "status": 200, "usage": None, "resp_bytes": 900},
    ]
    (tmp_path / "trace.jsonl").write_text("\n".join(map(json.dumps, rows)))
    readings = [{"t": i / 10, "gpu": 0, "energy_mj": i * 10_000} for i in range(60)]
    (tmp_path / "nvml.jsonl").write_text("\n".join(map(json.dumps, readings)))
    (tmp_path / "public.json").write_text(json.dumps(SETUP))
    paths = {
        "--trace": "trace.jsonl",
        "--samples": "nvml.jsonl",
        "--setup": "public.json",
        "--out": "result.json",
    }
    return [part for name, file in paths.items() for part in (name, str(tmp_path / file))]


def test_it_writes_the_result_and_says_the_sum(args: list[str], tmp_path: Path) -> None:
    """One command settles a trace."""
    done = CliRunner().invoke(command, [*args, "--method", "tokens"])

    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["method"] == "tokens"
    assert result["counter_uj"] == 590_000_000
    assert "1 request by tokens" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "nvml.jsonl",
        "public.json",
        "result.json",
        "trace.jsonl",
    ]


def test_a_dash_is_standard_output(args: list[str], tmp_path: Path) -> None:
    """``--out -`` prints the result and writes no file."""
    done = CliRunner().invoke(command, [*args[:-1], "-"])

    assert json.loads(done.stdout)["requests"]["a"]["energy_uj"] > 0
    assert not (tmp_path / "result.json").exists()


def test_the_summary_can_be_read_by_programs(args: list[str]) -> None:
    """``--json`` prints the totals as JSON."""
    summary = json.loads(CliRunner().invoke(command, [*args, "--json"]).stdout)

    assert summary["requests"] == 1
    assert summary["counter_uj"] == summary["requests_uj"] + summary["idle_uj"] + summary["unattributed_uj"]


def test_a_malformed_row_ends_the_run_without_a_result(args: list[str], tmp_path: Path) -> None:
    """One line on standard error, a code of its own, no result file."""
    (tmp_path / "nvml.jsonl").write_text('{"t": 1}\n')
    done = CliRunner().invoke(command, args)

    assert done.exit_code == MALFORMED
    assert done.stderr == f'{tmp_path}/nvml.jsonl:1: field "gpu": missing\n'
    assert not (tmp_path / "result.json").exists()


def test_a_place_that_cannot_be_written_is_named(args: list[str]) -> None:
    """A result that cannot be kept is an error that names the place."""
    done = CliRunner().invoke(command, [*args[:-1], "/nowhere/result.json"])

    assert done.exit_code == 73
    assert "/nowhere/result.json: No such file" in done.stderr
