"""``top`` against a meter that is there, gone, and back."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from click.testing import Result

from joulegate.cli.screen import Seen
from joulegate.cli.top import look
from joulegate.model import MeterStatus

Run = Callable[..., Result]


def test_once_prints_one_frame(joulegate: Run, fake_meter: Any) -> None:
    """A pipe gets one frame without control characters."""
    result = joulegate("top", "--admin", fake_meter.address, "--once")
    assert result.exit_code == 0
    assert "books balance" in result.output
    assert "\x1b" not in result.output
    assert fake_meter.asked == ["/v1/status"]


def test_where_the_output_is_no_terminal_it_is_once(joulegate: Run, fake_meter: Any) -> None:
    """A pipe never gets a screen that clears itself for ever."""
    assert "books balance" in joulegate("top", "--admin", fake_meter.address).output


def test_json_is_the_status(joulegate: Run, fake_meter: Any) -> None:
    """A program gets the meter's own answer."""
    answer = json.loads(joulegate("top", "--admin", fake_meter.address, "--json").output)
    assert answer["boundary"] == "gpu"


def test_no_meter(joulegate: Run) -> None:
    """One frame without a meter is an error with its remedy."""
    result = joulegate("top", "--admin", "127.0.0.1:1", "--once")
    assert result.exit_code == 1
    assert "is `joulegate run` up?" in result.stderr


def test_the_last_figures_stay_while_the_meter_is_gone(fake_meter: Any, status: MeterStatus) -> None:
    """A restart of the meter is named and survived."""
    first = look(fake_meter.address, Seen())
    assert (first.status, first.before, first.trouble) == (status, None, "")
    gone = look("127.0.0.1:1", first)
    assert gone.status == status
    assert "Connection refused" in gone.trouble
    back = look(fake_meter.address, gone)
    assert (back.before, back.trouble) == (status, "")


def test_live_in_a_terminal_until_ctrl_c(fake_meter: Any) -> None:
    """A real terminal shows frame after frame; Ctrl-C is the usual way to leave."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "joulegate", "top", "--admin", fake_meter.address, "--interval", "0.1"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(theirs)
    shown = b""
    while shown.count(b"books balance") < 2:
        shown += os.read(ours, 65_536)
    process.send_signal(signal.SIGINT)
    while _more(ours):
        pass
    assert process.wait(10) == 0
    os.close(ours)


def _more(terminal: int) -> bool:
    try:
        return bool(os.read(terminal, 65_536))
    except OSError:  # Linux says EIO when the other end is closed
        return False
