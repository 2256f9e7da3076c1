"""What an answer says of its own end decides how the request ended, not the framing around it."""

from typing import Any

import pytest

from joulegate.app.protocols import protocols
from joulegate.model import Outcome, Phase, SpanClosed
from joulegate.testing.upstream import Peer

SSE, LINES = b"text/event-stream", b"application/x-ndjson"

ENDS = {
    "openai chat": (
        "/v1/chat/completions", SSE,
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b"data: [DONE]\n\n",
    ),
    "openai responses": (
        "/v1/responses", SSE,
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a"}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed","response":{"error":null}}\n\n',
    ),
    "anthropic": (
        "/v1/messages", SSE,
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"a"}}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ),
    "ollama": (
        "/api/chat", LINES,
        b'{"model":"m","message":{"content":"a"},"done":false}\n',
        b'{"model":"m","done":true,"eval_count":1}\n',
    ),
    "llama.cpp": (
        "/completion", SSE,
        b'data: {"content":"a","stop":false}\n\n', b'data: {"content":"","stop":true}\n\n',
    ),
    "tgi": (
        "/generate_stream", SSE,
        b'data: {"token":{"text":"a"},"generated_text":null}\n\n',
        b'data: {"token":{"text":"b"},"generated_text":"ab"}\n\n',
    ),
}  # fmt: skip

ERRORS = {
    "openai chat": b'data: {"error":{"message":"out of memory","code":500}}\n\n',
    "openai responses": b'data: {"type":"response.failed","response":{"error":{"code":"x"}}}\n\n',
    "openai responses, of its own": b'data: {"type":"error","code":"server_error","message":"x"}\n\n',
    "anthropic": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
    "a named event": b"event: error\ndata: out of memory\n\n",
    "a line of its own": b'error: {"code":500}\n\n',
    "ollama": b'{"error":"model runner has unexpectedly stopped"}\n',
}


def head(media: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % media


@pytest.mark.parametrize("dialect", ENDS)
async def test_a_client_that_leaves_after_the_end_of_a_stream_lost_nothing(
    start: Any, serve: Any, dialect: str
) -> None:
    """A stream is over when its protocol says so: what the client did not wait for was framing."""
    path, media, first, last = ENDS[dialect]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(media))
        await peer.chunks(first, last, last=False)
        await peer.left()

    bench = await start(await serve(script), protocols=protocols())
    client = await bench.client()
    await client.ask(path, body=b'{"model":"m","stream":true}')
    await client.reader.readuntil(last)
    client.close()
    closed = await bench.events.closed()
    assert (closed.outcome, closed.phase, closed.client_left) == (Outcome.OK, Phase.DONE, None)


@pytest.mark.parametrize("dialect", ENDS)
async def test_a_client_that_leaves_before_the_end_of_a_stream_cancels(
    start: Any, serve: Any, dialect: str
) -> None:
    """The same stream without its end."""
    path, media, first, _ = ENDS[dialect]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(media))
        await peer.chunks(first, last=False)
        await peer.left()

    bench = await start(await serve(script), protocols=protocols())
    client = await bench.client()
    await client.ask(path, body=b'{"model":"m","stream":true}')
    await client.reader.readuntil(first)
    client.close()
    closed = await bench.events.closed()
    assert closed.outcome is Outcome.CANCELLED
    assert closed.client_left is not None


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("error", ERRORS)
async def test_an_error_within_a_good_answer_is_an_error(
    start: Any, serve: Any, error: str, content: bool
) -> None:
    """Whatever its status was, and whether or not content came before it; the bytes pass as they are."""
    path, media, first, _ = ENDS[
        error.partition(",")[0] if error.partition(",")[0] in ENDS else "openai chat"
    ]
    parts = [first, ERRORS[error]] if content else [ERRORS[error]]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(media))
        await peer.chunks(*parts)

    bench = await start(await serve(script), protocols=protocols())
    client = await bench.client()
    await client.ask(path, body=b'{"model":"m","stream":true}')
    status, _, body = await client.answer()
    assert (status, body) == (200, b"".join(parts))
    closed = await bench.events.closed()
    assert (closed.outcome, closed.status) == (Outcome.UPSTREAM_ERROR, 200)
    assert closed.phase is not Phase.DONE


async def test_an_error_in_a_whole_answer_is_an_error(start: Any, serve: Any) -> None:
    """Gateways hide an error in a 200; ``"error":null`` is none."""
    answers = [b'{"error":{"message":"x"}}', b'{"error":null,"choices":[]}']

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.answer(answer, fields=[b"Content-Type: application/json"])

    bench = await start(await serve(script), protocols=protocols())
    client = await bench.client()
    for _ in answers:
        await client.ask("/v1/chat/completions", body=b'{"model":"m"}')
        await client.answer()
    outcomes = [one.outcome for one in await bench.events.some(SpanClosed, 2)]
    assert outcomes == [Outcome.UPSTREAM_ERROR, Outcome.OK]
