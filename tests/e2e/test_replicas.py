"""Two llama.cpp servers behind one upstream: the death of one is felt by its own requests only."""

import http.client
import json
import os
import signal
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

CONFIG = """
[energy]
source = "fake"
[attribution]
settle = "1 s"
[[upstream]]
name = "text"
url = ["{one}", "{other}"]
gpus = [0]
"""
STREAMS = 8
TOKENS = 120
"""Long enough for the requests of both servers to be seen under way at once."""
FEW = 8


def stream(proxy: str, tokens: int) -> bool:
    """Ask for a story; return whether it came whole."""
    wish = {"model": "gemma-3-270m", "stream": True, "max_tokens": tokens, "ignore_eos": True}
    body = json.dumps(wish | {"messages": [{"role": "user", "content": "Tell a story."}]}).encode()
    request = urllib.request.Request(  # noqa: S310 (loopback only)
        f"{proxy}/v1/chat/completions", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 (loopback only)
            return bytes(answer.read()).rstrip().endswith(b"[DONE]")
    except (OSError, http.client.HTTPException):
        return False


def busy(running: Any) -> dict[str, int]:
    (upstream,) = running.status()["upstreams"]
    return {one["name"]: one["in_flight"] for one in upstream["replicas"]}


def up(running: Any) -> dict[str, int]:
    found: Counter[str] = running.sums("joulegate_upstream_replica_up", "replica")
    return dict(found)


def test_one_of_two_servers_is_killed_under_load(
    root: Path,
    tmp_path: Path,
    joulegate: Any,
    process: Any,
    free_port: Callable[[], int],
    eventually: Callable[..., Any],
) -> None:
    """Only its own streams fail, the page shows it; it comes back and is used again."""
    pytest.importorskip("xllamacpp")
    ports = [free_port(), free_port()]
    script = str(root / "examples" / "servers" / "text_server.py")
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    names = [f"127.0.0.1:{port}" for port in ports]

    def server(index: int, log: str) -> Any:
        command = [sys.executable, script, "--port", str(ports[index]), "--threads", "1"]
        return process(command, tmp_path / log, f"{urls[index]}/health")

    with ExitStack() as stack:
        stack.enter_context(server(0, "one"))
        victim = stack.enter_context(server(1, "other"))
        running = stack.enter_context(joulegate(CONFIG.format(one=urls[0], other=urls[1])))
        eventually(lambda: up(running) == dict.fromkeys(names, 1) or None, "both are up")
        with ThreadPoolExecutor(STREAMS) as pool:
            streams = [pool.submit(stream, running.proxy, TOKENS) for _ in range(STREAMS)]
            eventually(lambda: busy(running) == dict.fromkeys(names, STREAMS // 2) or None, "requests spread")
            os.kill(victim, signal.SIGKILL)
            whole = Counter(one.result() for one in streams)
        assert whole == {True: STREAMS // 2, False: STREAMS // 2}
        assert stream(running.proxy, FEW), "the other one takes what comes"
        eventually(lambda: up(running) == {names[0]: 1} or None, "the loss shows")
        assert 'joulegate_upstream_up{upstream="text",kind="llamacpp"} 1' in running.metrics()
        stack.enter_context(server(1, "again"))
        eventually(lambda: up(running) == dict.fromkeys(names, 1) or None, "it is back")
        with ThreadPoolExecutor(2) as pool:
            for one in [pool.submit(stream, running.proxy, FEW) for _ in range(2)]:
                assert one.result()
        running.settled(STREAMS + 3)
        assert running.sums("joulegate_requests_total", "outcome").total() == STREAMS + 3, "none began twice"
        running.check_books()
