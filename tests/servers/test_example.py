"""The server of ``docs/plugins.md``, installed as a package of a third party, is a server like any other."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

RECOGNISED = """
import asyncio
from joulegate.gateway.servers.recognition import every, recognise
from joulegate.ports.servers import ReportsLoad, ServerAnswer, AbandonedRequest, StopsWork

PAGES = {
    "/about": b'{"name":"captioner","version":"2.1","network":"blip"}',
    "/load": b'{"requests":3}',
}

async def ask(path):
    return ServerAnswer(200 if path in PAGES else 404, {}, PAGES.get(path, b""))

found = asyncio.run(recognise(ask))
server = every()[found.kind]
assert isinstance(server, ReportsLoad) and isinstance(server, StopsWork)
left = AbandonedRequest("/caption", {b"x-work-id": b"7/8"})
running = server.running(asyncio.run(ask(server.gauge)))
print(found.kind, found.text(), found.models, running, server.stop(left).path)

from joulegate.gateway.http.refusals import Refusal, response

answer = response(Refusal(502, "c", "why"), "captioner", method="POST", close=True)
print(answer.partition(b"\\r\\n\\r\\n")[2].decode())
"""

CONFIG = """
[[upstream]]
name = "a"
url = "http://127.0.0.1:1"
kind = "{kind}"
"""


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Python with the example's package installed."""
    site = tmp_path / "site"
    info = site / "captioner-2.1.dist-info"
    info.mkdir(parents=True)
    shutil.copy(root / "examples" / "plugin_server.py", site / "captioner_server.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: captioner\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[joulegate.servers]\ncaptioner = captioner_server\n")

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(site)}
        return subprocess.run(
            [sys.executable, *arguments], check=False, capture_output=True, text=True, env=environment
        )

    return python


def test_an_installed_server_is_recognised_read_and_stopped(run: Run) -> None:
    """Nothing of joulegate's own is changed for it."""
    result = run("-c", RECOGNISED)
    told = "captioner Captioner 2.1 ('blip',) 3 /jobs/7%2F8"
    error = '{"failed": {"status": 502, "why": "joulegate: why", "code": "c"}}'
    assert result.stdout.splitlines() == [told, error], result.stderr


BROKEN = """
from joulegate.gateway.http.refusals import Refusal, response

class Unwritable:
    def error(self, status, code, message):
        raise KeyError("no such word")

import captioner_server
captioner_server.Plugin = Unwritable
answer = response(Refusal(502, "c", "why"), "captioner", method="POST", close=True)
print(answer.partition(b"\\r\\n\\r\\n")[2].decode())
"""


def test_a_form_of_errors_that_raises_costs_no_answer(run: Run) -> None:
    """The client then gets the line of text."""
    result = run("-c", BROKEN)
    assert "joulegate: why" in result.stdout.splitlines(), result.stderr


def test_a_route_may_speak_its_dialect(run: Run, tmp_path: Path) -> None:
    """``dialect`` takes its name too; a server without a form of errors is refused with the remedy."""
    file = tmp_path / "joulegate.toml"
    route = '[[route]]\npath = "/caption"\ndialect = "{name}"\n'
    file.write_text(CONFIG.format(kind="captioner") + route.format(name="captioner"))
    assert (good := run("-m", "joulegate", "check", "--config", str(file))).returncode == 0, good.stderr
    file.write_text(CONFIG.format(kind="captioner") + route.format(name="vllm"))
    bad = run("-m", "joulegate", "check", "--config", str(file))
    assert bad.returncode
    assert "route[0].dialect: vllm has no form of errors of its own" in bad.stderr


def test_its_name_is_a_kind(run: Run, tmp_path: Path) -> None:
    """``kind`` takes the name of the entry point, and a slip of it is told with the name that is near."""
    file = tmp_path / "joulegate.toml"
    file.write_text(CONFIG.format(kind="captioner"))
    assert "upstream[0].kind" not in (good := run("-m", "joulegate", "check", "--config", str(file))).stderr
    assert good.returncode == 0, good.stderr
    file.write_text(CONFIG.format(kind="captionr"))
    bad = run("-m", "joulegate", "check", "--config", str(file))
    assert bad.returncode
    assert "upstream[0].kind: 'captionr' is not known (did you mean 'captioner'?)" in bad.stdout + bad.stderr
