"""What observing costs: microseconds a chunk of a stream, and a body of 50 MiB.

    python bench/protocols.py

Each figure is the best of several rounds in one process, beside what decoding with ``json.loads`` takes.
"""

import json
import time
from collections.abc import Callable

from joulegate import plugins
from joulegate.ports import InferenceProtocol, Observer, Rewrite
from joulegate.units import Nanoseconds

ROUNDS = 7
CHUNKS = 5_000
JSON = (b"Content-Type", b"application/json")
STREAM = (b"Content-Type", b"text/event-stream")
CHUNK = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" hello"}}],"created":1795460399,'
    b'"id":"chatcmpl-UlH4l7BvjQrfE2kX9ZSdlJvyuxUjQ93x","model":"gemma-3-270m","system_fingerprint":"b0-unknown",'
    b'"object":"chat.completion.chunk"}\n\n'
)
NATIVE = (
    b'data: {"index":0,"content":" the","tokens":[506],"stop":false,"tokens_predicted":1,'
    b'"tokens_evaluated":6}\n\n'
)
DELTA = (
    b"event: response.output_text.delta\n"
    b'data: {"type":"response.output_text.delta","item_id":"msg","delta":"_"}\n\n'
)
ANSWER = json.dumps({
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "word " * 250}}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 250, "total_tokens": 270},
}).encode()  # fmt: skip
IMAGE = (
    b'{"created":1,"data":[{"b64_json":"' + b"QUJD" * (50 * 2**20 // 4) + b'"}],"usage":{"input_tokens":1}}'
)
VECTORS = json.dumps(
    {"data": [{"embedding": [0.012345678] * 768}] * 1024, "usage": {"prompt_tokens": 1}}
).encode()


def observer(plugin: InferenceProtocol, path: str, head: tuple[bytes, bytes]) -> Observer:
    route = plugin.matches("POST", path)
    assert route
    fresh = plugin.observer(route, [JSON])
    fresh.request_body(b'{"model":"m","stream":true}')
    fresh.response_head(200, [head])
    return fresh


def load(name: str) -> InferenceProtocol:
    plugin: InferenceProtocol = plugins.load("protocols", name).Plugin()
    return plugin


def best(once: Callable[[], None]) -> float:
    """Give the seconds of the quickest round."""
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        once()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def per_chunk(name: str, protocol: str, path: str, chunk: bytes) -> None:
    observing = observer(load(protocol), path, STREAM)
    payload = chunk.partition(b"data: ")[2]

    def observe() -> None:
        for at in range(CHUNKS):
            observing.response_body(Nanoseconds(at), chunk)

    def decode() -> None:
        for _ in range(CHUNKS):
            json.loads(payload)

    ours, theirs = best(observe) / CHUNKS * 1e6, best(decode) / CHUNKS * 1e6
    print(f"{name:<34} {ours:8.2f} us/chunk   json.loads {theirs:8.2f}   ratio {ours / theirs:.2f}")


def per_body(name: str, path: str, body: bytes) -> None:
    plugin = load("openai")
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]

    def observe() -> None:
        observing = observer(plugin, path, JSON)
        for piece in pieces:
            observing.response_body(Nanoseconds(0), piece)
        observing.response_end(complete=True)

    ours, theirs = best(observe) * 1e3, best(lambda: json.loads(body)) * 1e3
    print(f"{name}, {len(body) / 2**20:.3g} MiB".ljust(34), end=" ")
    print(f"{ours:8.3f} ms/body    json.loads {theirs:8.3f}   ratio {ours / theirs:.2f}")


def filtering() -> None:
    rewrite = observer(load("openai"), "/v1/chat/completions", STREAM).rewrite(b'{"stream":true}')
    assert isinstance(rewrite, Rewrite)
    strip = rewrite.strip
    assert strip

    def run() -> None:
        for _ in range(CHUNKS):
            strip.feed(CHUNK)

    print(f"{'usage filter':<34} {best(run) / CHUNKS * 1e6:8.2f} us/chunk")


def main() -> None:
    per_chunk("openai chat", "openai", "/v1/chat/completions", CHUNK)
    per_chunk("openai responses", "openai", "/v1/responses", DELTA)
    per_chunk("llama.cpp native", "llamacpp", "/completion", NATIVE)
    per_chunk("generic", "generic", "/mine", CHUNK)
    filtering()
    per_body("image", "/v1/images/generations", IMAGE)
    per_body("embeddings", "/v1/embeddings", VECTORS)
    per_body("whole chat answer", "/v1/chat/completions", ANSWER)


if __name__ == "__main__":
    main()
