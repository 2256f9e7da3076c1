"""What only shows once joulegate looks at the machine is told like any other slip: a line and exit code 2."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def test_a_device_that_is_not_here_is_told_in_one_line(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """The message names the device and those there are; nothing is left running, no traceback is shown."""
    config = tmp_path / "joulegate.toml"
    config.write_text(
        f'[listen]\naddress = "127.0.0.1:{free_port()}"\nadmin = "127.0.0.1:{free_port()}"\n'
        '[energy]\nsource = "fake"\n[ledger]\npath = ":memory:"\n'
        '[[upstream]]\nname = "a"\nurl = "http://127.0.0.1:9"\ngpus = [7]\n'
    )
    command = [sys.executable, "-m", "joulegate", "run", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "device 7 is not here; there are: 0 (GPU-fake-0)" in done.stderr
    assert "Traceback" not in done.stderr
