"""The board in a browser, drawn with Grafana's own panel components (npm packages of about 400 MB)."""

import struct
import subprocess
import sys

import pytest

pytestmark = pytest.mark.nightly


def test_every_panel_is_drawn(grafana, program, tmp_path):
    """No panel fails over real data, and the picture is as wide as a screen."""
    for name in ("prometheus", "node", "npm", "chromium"):
        program(name)
    picture = tmp_path / "board.png"
    command = [sys.executable, grafana / "render" / "shot.py", "--seconds", "45", "--picture", picture]
    subprocess.run(command, check=True)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 1600
    assert height > 1000
