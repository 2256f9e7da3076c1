"""What observing costs: microseconds a chunk of a stream, and megabytes a second of large bodies.

    python bench/protocols.py

Each figure is the best of several rounds in one process, beside what decoding with ``json.loads`` takes.
"""

import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Sequence

from joulegate import plugins
from joulegate.gateway.http import encodings
from joulegate.ports import InferenceProtocol, Observer, Rewrite
from joulegate.units import Nanoseconds

ROUNDS = 7
CHUNKS = 5_000
JSON = (b"Content-Type", b"application/json")
STREAM = (b"Content-Type", b"text/event-stream")
LINES = (b"Content-Type", b"application/x-ndjson")
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
MESSAGE = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" hello"}}\n\n'
)
LINE = b'{"model":"llama3.2","created_at":"2026-08-21T08:52:19.385406455Z","response":" the","done":false}\n'
TOKEN = (
    b'data: {"index":7,"token":{"id":12095,"text":" Paris","logprob":-0.5,"special":false},'
    b'"generated_text":null,"details":null}\n\n'
)
IDS = b'data: {"request_id":"r1","choices":[{"index":0,"token_ids":[12095]}]}\n\n'
COHERE = b'data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" hello"}}}}\n\n'
SO_FAR = (
    b'data: {"text":"'
    + b" word" * 200
    + b'","output_ids":[12095],"meta_info":{"id":"a1","finish_reason":null,'
    b'"prompt_tokens":5,"weight_version":"default","num_retractions":0,"reasoning_tokens":0,'
    b'"completion_tokens":200,"cached_tokens":0}}\n\n'
)
"""SGLang's event two hundred tokens into an answer: it repeats all of it."""
ANSWER = json.dumps({
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "word " * 250}}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 250, "total_tokens": 270},
}).encode()  # fmt: skip
IMAGE = (
    b'{"created":1,"data":[{"b64_json":"' + b"QUJD" * (50 * 2**20 // 4) + b'"}],"usage":{"input_tokens":1}}'
)
TRITON = b'data: {"model_name":"llm","model_version":"1","num_output_tokens":1,"text_output":" hello"}\n\n'
PICTURE = b"QUJD" * (50 * 2**20 // 4)
FORM = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
TENSOR = bytes(range(256)) * (64 * 2**20 // 256)
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
    return plugins.build(plugins.PROTOCOLS, name)


def best(once: Callable[[], None]) -> float:
    """Return the seconds of the quickest round."""
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        once()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def per_chunk(name: str, protocol: str, path: str, chunk: bytes, head: tuple[bytes, bytes] = STREAM) -> None:
    observing = observer(load(protocol), path, head)
    payload = chunk.partition(b"data: ")[2] or chunk

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


def large(
    name: str,
    protocol: str,
    path: str,
    body: bytes,
    *,
    request: bool,
    fields: Sequence[tuple[bytes, bytes]] = (JSON,),
) -> None:
    """Print the speed of observing a large request or answer, and the most memory that it takes."""
    plugin = load(protocol)
    route = plugin.matches("POST", path)
    assert route
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]

    def observe() -> None:
        observing = plugin.observer(route, fields if request else [JSON])
        for piece in pieces if request else ():
            observing.request_body(piece)
        observing.response_head(200, [JSON] if request else fields)
        for piece in () if request else pieces:
            observing.response_body(Nanoseconds(0), piece)
        observing.response_end(complete=True)
        observing.asked()
        observing.facts()

    took = best(observe)
    tracemalloc.start()
    observe()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{name}, {len(body) / 2**20:.3g} MiB".ljust(34), end=" ")
    print(f"{len(body) / took / 1e6:8.0f} MB/s       at most {peak / 2**10:.0f} KiB")


def large_bodies() -> None:
    """Bodies of the image servers and of the general model servers."""
    large(
        "A1111 answer",
        "a1111",
        "/sdapi/v1/txt2img",
        b'{"images":["' + PICTURE + b'"],"info":"{}"}',
        request=False,
    )
    large(
        "A1111 request",
        "a1111",
        "/sdapi/v1/img2img",
        b'{"init_images":["' + PICTURE + b'"],"steps":9}',
        request=True,
    )
    head = (
        b'{"inputs":[{"name":"x","shape":[4],"datatype":"FP32","parameters":{"binary_data_size":67108864}}]}'
    )
    binary = [
        (b"Inference-Header-Content-Length", b"%d" % len(head)),
        (b"Content-Type", b"application/octet-stream"),
    ]
    large("Triton binary request", "kserve", "/v2/models/m/infer", head + TENSOR, request=True, fields=binary)
    large("Triton binary answer", "kserve", "/v2/models/m/infer", head + TENSOR, request=False, fields=binary)
    numbers = b'{"inputs":[{"name":"x","shape":[4],"data":[' + b"0.12345678," * (16 * 2**20 // 11) + b"1]}]}"
    large("KServe JSON tensor", "kserve", "/v2/models/m/infer", numbers, request=True)
    form = [(b"Content-Type", b"multipart/form-data; boundary=b")]
    large(
        "form with a file",
        "openai",
        "/v1/images/edits",
        FORM + TENSOR + b"\r\n--b--",
        request=True,
        fields=form,
    )


def filtering() -> None:
    rewrite = observer(load("openai"), "/v1/chat/completions", STREAM).rewrite(b'{"stream":true}')
    assert isinstance(rewrite, Rewrite)
    strip = rewrite.strip
    assert strip

    def run() -> None:
        for _ in range(CHUNKS):
            strip.feed(CHUNK)

    print(f"{'usage filter':<34} {best(run) / CHUNKS * 1e6:8.2f} us/chunk")


def flushed(coding: str) -> list[bytes]:
    """Return chunks of a compressed stream, each of which can be read as soon as it comes."""
    if coding == "gzip":
        packing = zlib.compressobj(wbits=31)
        return [packing.compress(CHUNK) + packing.flush(zlib.Z_SYNC_FLUSH) for _ in range(CHUNKS)]
    if coding == "br":
        brotli = encodings.brotli.Compressor(quality=5)
        return [brotli.process(CHUNK) + brotli.flush() for _ in range(CHUNKS)]
    zstd = encodings.zstd.ZstdCompressor()
    return [zstd.compress(CHUNK, mode=zstd.FLUSH_BLOCK) for _ in range(CHUNKS)]


def unfolding() -> None:
    """Report what reading a compressed stream adds, beside zlib alone on the same stream."""
    plain = flushed("gzip")

    def alone() -> None:
        engine = zlib.decompressobj(wbits=31)
        for chunk in plain:
            engine.decompress(chunk)

    theirs = best(alone) / CHUNKS * 1e6
    for coding in ("gzip", *(("br",) if encodings.brotli else ()), *(("zstd",) if encodings.zstd else ())):
        stream = flushed(coding)

        def unfold(coding: str = coding, stream: list[bytes] = stream) -> None:
            reading = encodings.decoder({b"content-encoding": coding.encode()})
            assert reading
            for chunk in stream:
                for _ in reading.feed(chunk):
                    pass

        ours = best(unfold) / CHUNKS * 1e6
        print(f"{f'unfolding {coding}':<34} {ours:8.2f} us/chunk   zlib alone {theirs:8.2f}", end="   ")
        print(f"ratio {ours / theirs:.2f}")


def main() -> None:
    per_chunk("openai chat", "openai", "/v1/chat/completions", CHUNK)
    per_chunk("openai responses", "openai", "/v1/responses", DELTA)
    per_chunk("llama.cpp native", "llamacpp", "/completion", NATIVE)
    per_chunk("anthropic", "anthropic", "/v1/messages", MESSAGE)
    per_chunk("ollama lines", "ollama", "/api/generate", LINE, LINES)
    per_chunk("tgi", "tgi", "/generate_stream", TOKEN)
    per_chunk("sglang, 1000 bytes so far", "sglang", "/generate", SO_FAR)
    per_chunk("vllm token ids", "vllm", "/inference/v1/generate", IDS)
    per_chunk("vllm cohere chat", "vllm", "/cohere/v2/chat", COHERE)
    per_chunk("Triton generate_stream", "kserve", "/v2/models/m/generate_stream", TRITON)
    per_chunk("SageMaker, OpenAI's form", "sagemaker", "/invocations", CHUNK)
    per_chunk("generic", "generic", "/mine", CHUNK)
    filtering()
    unfolding()
    per_body("image", "/v1/images/generations", IMAGE)
    per_body("embeddings", "/v1/embeddings", VECTORS)
    per_body("whole chat answer", "/v1/chat/completions", ANSWER)
    large_bodies()


if __name__ == "__main__":
    main()
