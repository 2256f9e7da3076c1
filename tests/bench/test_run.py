"""The script as a user starts it, on a CPU, reading a fake GPU through the real binding."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from joulegate.testing.nvml import PROFILES, Control, Gpu, build

pytestmark = pytest.mark.slow


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(root / "bench/gpu/experiment.py"), *arguments]


def test_a_small_run_leaves_raw_data_and_a_report(
    tmp_path: Path, root: Path, program: Callable[[str], str]
) -> None:
    """Two processes, the sampler's thread and all files; power follows the processes' CPU time."""
    program("cc")
    library = build(tmp_path)
    control = Control(tmp_path / "control", [Gpu("GPU-a", profile=PROFILES["hopper"])])
    environment = {"PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1", **control.environment(library)}
    out = tmp_path / "out"
    run = subprocess.Popen(
        command(root, "--out", str(out), "--device", "cpu", "--backend", "numpy", "--scale", "small",
                "--blocks", "idle,decode,prefill,unet,mix-c"),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with control.follow(0, [run.pid], idle_watts=70, watts_per_core=200, period=0.02):
        said, _ = run.communicate(timeout=100)
    assert run.returncode == 0, said
    assert "mix-c: The same, and half of the time a stranger's matrix products." in said
    found = json.loads((out / "result.json").read_text())
    assert found["facts"]["uuid"] == "GPU-a"
    assert found["sensor"]["period_ms"] == pytest.approx(100, abs=10)
    assert found["sensor"]["idle_w"] == pytest.approx(70, rel=0.2)
    assert found["truth"]["costs"]["step"] > 0
    mix = found["mixes"][0]
    assert mix["off_balance"] == 0
    assert mix["foreign_w"] > 0
    assert {one["name"].split("/")[0] for one in mix["classes"]} == {"llm", "img"}
    assert (out / "report.md").read_text() in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--blocks", "idle,decod"], "'decod' is not one of idle, polling, decode"),
        (["--scale", "fast"], "'fast' is neither a number above 0 nor small"),
        (["--scale", "0"], "'0' is neither"),
        ([], "--out"),
    ],
)
def test_misuse_is_told_before_anything_is_loaded(
    tmp_path: Path, root: Path, arguments: list[str], words: str
) -> None:
    """Exit code 2 and the remedy."""
    out = ["--out", str(tmp_path / "out")] if arguments else []
    done = subprocess.run(command(root, *out, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "out").exists()
