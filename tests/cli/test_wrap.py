"""``wrap``: a server moves to another port and joulegate takes its place."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from click.testing import Result

Run = Callable[..., Result]

SERVER = """
import sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
        if self.path == "/leave":
            threading.Thread(target=self.server.shutdown).start()

    def log_message(self, *_):
        pass

port = int(sys.argv[sys.argv.index("--port") + 1])
HTTPServer(("127.0.0.1", port), Hello).serve_forever(0.01)
raise SystemExit(7)
"""


def test_no_port_in_the_command(joulegate: Run) -> None:
    """The remedies are named, and nothing is started."""
    result = joulegate("wrap", "--", "touch", "/nonexistent/x")
    assert result.exit_code == 2
    assert "--port-arg" in result.stderr


def test_only_a_placeholder_needs_the_port_of_clients(joulegate: Run) -> None:
    """Where the command does not say it, --listen must."""
    result = joulegate("wrap", "--", "env", "A={port}", "true")
    assert result.exit_code == 2
    assert "--listen" in result.stderr


def test_a_command_that_cannot_be_started(joulegate: Run) -> None:
    """The reason is told without a traceback."""
    result = joulegate("wrap", "--", "/no/such/server", "--port", "8000")
    assert result.exit_code == 2
    assert "cannot be started: No such file" in result.stderr


def test_a_server_that_ends_before_it_accepts() -> None:
    """Its exit code is ours, and it is said."""
    done = subprocess.run(
        [sys.executable, "-m", "joulegate", "wrap", "--", "sh", "-c", "exit 9", "--port", "8000"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 9
    assert "ended with code 9 before it accepted connections" in done.stderr


def test_the_variable_port_is_found(joulegate: Run) -> None:
    """A command without a port is refused only where PORT does not say it either."""
    result = joulegate("wrap", "--", "/no/such/server", PORT="8000")
    assert "cannot be started" in result.stderr


@pytest.fixture
def wrapped(tmp_path: Path) -> "tuple[subprocess.Popen[str], str]":
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, admin = one.getsockname()[1], other.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "joulegate", "wrap", "--source", "fake", "--admin", f"127.0.0.1:{admin}"),
            *(
                "--ledger",
                str(tmp_path / "ledger.db"),
                "--",
                sys.executable,
                "-c",
                SERVER,
                "--port",
                str(port),
            ),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    return process, f"http://127.0.0.1:{port}"


def answered(process: "subprocess.Popen[str]", url: str) -> bytes:
    pause = threading.Event()
    while process.poll() is None:
        try:
            with urlopen(url, timeout=5) as response:  # noqa: S310 (loopback)
                body: bytes = response.read()
                return body
        except (URLError, OSError):
            pause.wait(0.05)
    raise AssertionError(process.communicate())


@pytest.mark.e2e
def test_clients_find_joulegate_where_the_server_was(wrapped: "tuple[subprocess.Popen[str], str]") -> None:
    """The server's own port answers through joulegate; SIGTERM ends both."""
    process, url = wrapped
    assert answered(process, f"{url}/x") == b"hello"
    process.send_signal(signal.SIGTERM)
    shown, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged
    assert url in shown


@pytest.mark.e2e
def test_the_end_of_the_server_ends_joulegate_with_its_code(
    wrapped: "tuple[subprocess.Popen[str], str]",
) -> None:
    """A supervisor sees the server's own exit code."""
    process, url = wrapped
    assert answered(process, f"{url}/leave") == b"hello"
    _, logged = process.communicate(timeout=60)
    assert process.returncode == 7, logged
