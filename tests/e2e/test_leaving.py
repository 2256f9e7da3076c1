"""A client that leaves real llama.cpp in the middle: the engine stops, and its last joules are waste."""

import json
import socket
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.e2e

CONFIG = """
[energy]
source = "fake"
[attribution]
settle = "1 s"
[[upstream]]
name = "text"
url = "{url}"
gpus = [0]
[[task]]
task = "summarization"
header = "X-App=digest"
"""
TOKENS = 1_500


def slots(url: str) -> int:
    """Give how many slots work, asked of the server itself."""
    with urllib.request.urlopen(f"{url}/slots", timeout=30) as answer:  # noqa: S310 (loopback only)
        return sum(slot["is_processing"] for slot in json.loads(answer.read()))


def leave(proxy: str, model: str, *fields: str) -> str:
    """Ask for a long story, read its first words and hang up; give joulegate's id of the request."""
    place = urlsplit(proxy)
    wish = {"model": model, "stream": True, "max_tokens": TOKENS, "ignore_eos": True}
    body = json.dumps(wish | {"messages": [{"role": "user", "content": "Tell a long story."}]}).encode()
    with socket.create_connection((place.hostname, place.port), timeout=60) as client:
        head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Content-Type: application/json", *fields]
        client.sendall("\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        got = b""
        while got.count(b"data:") < 3:
            part = client.recv(65_536)
            assert part, got
            got += part
    return got.partition(b"Joulegate-Request-Id: ")[2].partition(b"\r\n")[0].decode()


@pytest.fixture(scope="module")
def running(joulegate: Any, llama: Any) -> Any:
    with joulegate(CONFIG.format(url=llama.url)) as started:
        yield started


def record(running: Any, id_: str) -> dict[str, Any] | None:
    found = running.json(f"/v1/requests/{id_}")
    return found if found and found.get("state") == "final" else None


def test_the_server_is_told_apart(running: Any, eventually: Callable[..., Any]) -> None:
    """llama.cpp is recognised with its version and its model, without a word of configuration."""

    def look() -> dict[str, Any] | None:
        (upstream,) = running.status()["upstreams"]
        return upstream if upstream["kind"] != "auto" else None

    upstream = eventually(look, "the server is recognised")
    assert (upstream["kind"], upstream["up"], upstream["models"]) == ("llamacpp", True, ["gemma-3-270m"])
    assert upstream["version"]
    assert 'joulegate_upstream_up{upstream="text",kind="llamacpp"} 1' in running.metrics()


@pytest.mark.parametrize("fields", [(), ("X-Conversation-Id: story-1",)], ids=["plain", "kept conversation"])
def test_the_engine_stops_and_the_waste_is_booked(
    running: Any, llama: Any, eventually: Callable[..., Any], fields: tuple[str, ...]
) -> None:
    """No slot works any more, long before the story would have ended; the request ends after its client."""
    assert slots(llama.url) == 0
    id_ = leave(running.proxy, llama.model, *fields, "X-App: digest")
    eventually(lambda: slots(llama.url) == 0 or None, "the engine stops", seconds=10)
    found = eventually(lambda: record(running, id_), "the request is settled")
    assert (found["outcome"], found["task"]) == ("cancelled", "summarization")
    assert 0 <= found["wasted_joules"] < found["energy_joules"]  # nothing, if it stopped as its client left
    (upstream,) = running.status()["upstreams"]
    assert upstream["keeps_working"] is False
    assert 'joulegate_upstream_keeps_working{upstream="text"} 0' in running.metrics()


def test_without_the_gate_a_kept_conversation_works_on(llama: Any, eventually: Callable[..., Any]) -> None:
    """That the call is needed: llama.cpp generates on for a conversation that may be taken up again."""
    leave(llama.url, llama.model, "X-Conversation-Id: story-2")
    for _ in range(3):
        assert slots(llama.url) == 1
    request = urllib.request.Request(f"{llama.url}/v1/stream?conv_id=story-2", method="DELETE")  # noqa: S310
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 (loopback only)
    eventually(lambda: slots(llama.url) == 0 or None, "the engine stops", seconds=10)
