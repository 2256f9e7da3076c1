"""``run`` as a person starts it: real processes on loopback."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from click.testing import Result

Run = Callable[..., Result]


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def answered(process: "subprocess.Popen[str]", url: str) -> bytes:
    """Give the answer as soon as there is a good one; a process that ended gives none."""
    pause = threading.Event()
    while process.poll() is None:
        try:
            with urlopen(url, timeout=5) as response:  # noqa: S310 (loopback)
                body: bytes = response.read()
                return body
        except (HTTPError, URLError, OSError):
            pause.wait(0.05)
    raise AssertionError(process.communicate())


def test_a_wrong_option_is_told_before_anything_starts(joulegate: Run) -> None:
    """Exit code 2, every problem, and nothing listens."""
    result = joulegate("run", "--upstream", "nonsense", "--listen", "8080")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.e2e
def test_a_request_passes_and_sigterm_drains(upstream: str, tmp_path: Path) -> None:
    """Zero configuration: the banner says what was found, the request passes, the end is clean."""
    listen, admin = free_address(), free_address()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "joulegate", "run", "--upstream", upstream, "--source", "fake"),
            *("--listen", listen, "--admin", admin, "--ledger", str(tmp_path / "ledger.db")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert answered(process, f"http://{listen}/anything") == b"hello"
    assert b"joulegate_" in answered(process, f"http://{admin}/metrics")
    process.send_signal(signal.SIGTERM)
    shown, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged
    assert "watts are MADE UP" in shown
    assert f"http://{listen}" in shown
    assert "no zone, so no CO2e" in shown
    assert "Traceback" not in logged
