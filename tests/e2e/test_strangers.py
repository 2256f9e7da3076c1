"""Somebody else's job on the GPU: told of by the driver, paid by nobody."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulegate.testing.nvml import Control, Gpu

pytestmark = pytest.mark.e2e

WATTS, TOOK = 200.0, 4.0
SERVER = """
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Slow(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        threading.Event().wait(float(sys.argv[2]))
        self.answer(b'{"choices": [{"text": "yes"}], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}')

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Slow).serve_forever()
"""
CONFIG = """
[attribution]
method = "overlap"
[[upstream]]
name = "llm"
url = "http://127.0.0.1:{port}"
"""


def ask(base: str) -> None:
    body = json.dumps({"model": "m", "prompt": "is it?"}).encode()
    headers = {"Content-Type": "application/json", "X-Request-Id": "mine"}
    with urllib.request.urlopen(urllib.request.Request(f"{base}/v1/completions", body, headers)) as answer:  # noqa: S310
        assert answer.status == 200


def test_a_request_pays_for_its_own_part_of_the_gpu(
    joulegate: Any,
    library: Path,
    tmp_path: Path,
    process: Callable[..., Any],
    free_port: Callable[[], int],
    eventually: Callable[..., Any],
) -> None:
    """Two processes are on the GPU, the server of the request and one that joulegate knows nothing of."""
    port = free_port()
    control = Control(tmp_path / "gpus", [Gpu("GPU-0", watts=WATTS)])
    server = [sys.executable, "-c", SERVER, str(port), str(TOOK)]
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0)
    try:
        with process(server, tmp_path / "server.log", f"http://127.0.0.1:{port}/") as pid:
            control.processes(0, [pid, stranger.pid], percent=[30, 60])
            with joulegate(CONFIG.format(port=port), env=control.environment(library)) as running:

                def foreign() -> int | None:
                    return dict(running.status()["devices"][0]["unattributed"]).get("foreign")

                eventually(foreign, "the stranger is seen")
                ask(running.proxy)
                (device,) = running.settled(1)["devices"]
                energy = running.json("/v1/requests/mine")["energy_joules"]
    finally:
        stranger.communicate(b"\n", timeout=10)
    assert energy == pytest.approx(0.4 * WATTS * TOOK, rel=0.1)
    unattributed = dict(device["unattributed"])
    assert unattributed["foreign"] >= 0.6 * WATTS * TOOK * 0.9 * 1e6
    assert device["requests"] + device["idle"] + sum(unattributed.values()) == device["measured"]
