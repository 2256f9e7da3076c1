import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


@pytest.fixture
def unit(deploy, tmp_path):
    """The unit, with a program that exists in the place of the one that is not installed here."""
    text = (deploy / "systemd" / "joulegate.service").read_text(encoding="utf-8")
    here = tmp_path / "joulegate.service"
    here.write_text(re.sub(r"/opt/joulegate/bin/joulegate\b", str(Path(sys.executable)), text))
    return here


def test_unit_is_valid(unit, program):
    """systemd understands every line."""
    done = subprocess.run([program("systemd-analyze"), "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_unit_is_hardened(unit, program):
    """systemd's own measure of exposure is at most 2.0 of 10."""
    command = [program("systemd-analyze"), "security", "--offline=true", "--threshold=20", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr


def test_unit_waits_for_the_drain(unit):
    """systemd kills no request that joulegate still lets end: [timeout] drain is 60 s."""
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
    assert int(seconds) > 60
    assert "KillMode=mixed" in unit.read_text()


def test_settings_are_valid_and_stay_on_this_host(deploy):
    """joulegate accepts the service's settings, and nothing is reachable from another host unasked."""
    settings = deploy / "systemd" / "joulegate.toml"
    done = subprocess.run(
        [sys.executable, "-m", "joulegate", "check", "--config", settings], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listen = tomllib.loads(settings.read_text(encoding="utf-8"))["listen"]
    assert {address.rpartition(":")[0] for address in listen.values()} == {"127.0.0.1"}
