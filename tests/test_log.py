"""Log lines are structured, and every event is in the list."""

import ast
import json
import subprocess
import sys
from pathlib import Path

from joulegate.log import EVENTS

LEVELS = {"debug", "info", "warning", "error", "exception"}


def test_every_event_that_is_logged_is_listed_and_every_listed_one_is_logged(root: Path) -> None:
    """The list is what a person can alert on."""
    calls, words = set(), set()
    for path in (path for path in (root / "proxy").rglob("*.py") if path.name != "log.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
            ):
                calls |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
    assert {name for name in calls if "." in name} <= EVENTS
    assert words >= EVENTS


def test_json_lines_for_programs() -> None:
    """One object a line, with the event, the level, the room and the fields."""
    script = (
        "from joulegate import log; log.configure(json=True); "
        "log.logger('meter').info('meter.started', devices=2); log.logger('meter').debug('meter.stopped')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert {key: said[key] for key in ("event", "level", "room", "devices")} == {
        "event": "meter.started", "level": "info", "room": "meter", "devices": 2,
    }  # fmt: skip
