"""Large bodies and long lines through a real gate with all protocols: vectors 16, 17, 22 and 23.

All vectors and their tests are listed in tests/protocols/test_vectors_transport.py.
"""

import base64
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joulegate.app.protocols import protocols
from joulegate.model import Fact, FactSource, Outcome, Phase, TaskFacts
from joulegate.testing.upstream import Peer

MIB = 2**20
GROWTH = 24 * MIB
"""What a process may grow by while a body of any size passes: buffers of both sockets, and the allocator."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = bytes(range(256)) * 1024
"""A quarter of a MiB that is no text."""


def rss() -> int:
    """Give the resident memory of this process: gate, server and client alike."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Sum:
    """Size and checksum of what went by, and the most memory that it took."""

    def __init__(self) -> None:
        self.size = self.crc = self.grown = 0
        self._before = rss()

    def take(self, part: bytes) -> bytes:
        self.size += len(part)
        self.crc = zlib.crc32(part, self.crc)
        self.grown = max(self.grown, rss() - self._before)
        return part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and (self.size, self.crc) == (other.size, other.crc)

    __hash__ = None  # type: ignore[assignment]  # sums are compared, never looked up


def form(files: int) -> Iterator[bytes]:
    """Give a form with a file of so many quarters of a MiB before the field that names the model."""
    mark = b"--b\r\nContent-Disposition: form-data; name="
    yield mark + b'"image"; filename="a.png"\r\n\r\n'
    for _ in range(files):
        yield PIECE
    yield b"\r\n" + mark + b'"model"\r\n\r\nflux\r\n' + mark + b'"size"\r\n\r\n64x32\r\n--b--\r\n'


@pytest.mark.parametrize("mib", [96, pytest.param(1024, marks=pytest.mark.nightly)])
async def test_vector_16_an_upload_streams_in_constant_memory(start: Any, serve: Any, mib: int) -> None:
    """Every byte of a form arrives, its fields behind the file are read, and nothing keeps the file."""
    sent, size = Sum(), sum(map(len, form(0))) + mib * MIB
    got: list[Sum] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        seen = Sum()
        got.append(seen)
        while seen.size < size:
            seen.take(await peer.read(MIB))
        await peer.answer(b'{"data":[{}]}', fields=[b"Content-Type: application/json"])

    bench = await start(await serve(script), protocols=protocols())
    client = await bench.client()
    fields = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n" % size
    await client.send(b"POST /v1/images/edits HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    for part in form(mib * 4):
        await client.send(sent.take(part))
    assert (await client.answer())[0] == 200
    assert got == [sent]
    assert sent.grown < GROWTH
    closed = await bench.events.closed()
    assert closed.facts.pixels == Fact(64 * 32, FactSource.DERIVED)
    assert (await bench.events.opened()).body_bytes == size


def picture() -> Iterator[bytes]:
    """Give an answer of AUTOMATIC1111 with a picture of 50 MiB in base64, in parts."""
    head = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 4096, 2048) + b"\x08\x02\0\0\0" + b"\0" * 3
    )
    yield b'{"images":["' + base64.b64encode(head)
    for _ in range(200):
        yield base64.b64encode(PIECE[: 3 * MIB // 16])
    yield b'"],"parameters":{"width":4096,"height":2048,"steps":20},"info":"{\\"all_seeds\\":[1],'
    yield b'\\"sd_model_name\\":\\"xl\\"}"}'


async def test_vector_17_a_picture_of_50_mib_passes_in_constant_memory(start: Any, serve: Any) -> None:
    """The client gets each byte, and what stands behind the picture is read."""
    sent, got = Sum(), Sum()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for part in picture():
            await peer.chunks(sent.take(part), last=False)
        await peer.chunks()

    bench = await start(await serve(script), protocols=protocols())
    client = await bench.client()
    await client.ask("/sdapi/v1/txt2img", body=b"{}", fields=b"Content-Type: application/json\r\n")
    assert (await client.head())[0] == 200
    async for part in client.chunks():
        got.take(part)
    assert got == sent
    assert got.size > 50 * MIB
    assert got.grown < GROWTH
    closed = await bench.events.closed()
    drawn = (Fact(1, FactSource.DERIVED), Fact(4096 * 2048, FactSource.DERIVED), Fact(20, FactSource.DERIVED))
    assert (closed.facts.images, closed.facts.pixels, closed.facts.steps) == drawn
    assert closed.model == "xl"


async def test_vector_22_an_event_of_10_mib_passes_in_constant_memory(start: Any, serve: Any) -> None:
    """A single line of a stream: each byte arrives, usage inside it is found, and the next event too."""
    sent, got = Sum(), Sum()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for part in long_event():
            await peer.chunks(sent.take(part), last=False)
        await peer.chunks()

    bench = await start(await serve(script), protocols=protocols())
    client = await bench.client()
    asked = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'
    await client.ask("/v1/chat/completions", body=asked, fields=b"Content-Type: application/json\r\n")
    assert (await client.head())[0] == 200
    async for part in client.chunks():
        got.take(part)
    assert got == sent
    assert got.grown < GROWTH
    closed = await bench.events.closed()
    assert closed.facts == TaskFacts(
        prompt_tokens=Fact(3), completion_tokens=Fact(7), choices=Fact(1, FactSource.DERIVED)
    )


def long_event() -> Iterator[bytes]:
    yield b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"'
    for _ in range(40):
        yield b"x" * (MIB // 4)
    yield b'"}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    yield b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":7}}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_vector_23_a_client_that_leaves_after_the_last_byte_lost_nothing(
    start: Any, serve: Any, way: str
) -> None:
    """Its request is done, whole and counted, however it leaves."""

    async def script(peer: Peer) -> None:
        await peer.request()
        usage = b'{"usage":{"prompt_tokens":3,"completion_tokens":7}}'
        await peer.answer(usage, fields=[b"Content-Type: application/json"])
        await peer.left()

    bench = await start(await serve(script), protocols=protocols())
    client = await bench.client()
    await client.ask("/v1/chat/completions", body=b"{}", fields=b"Content-Type: application/json\r\n")
    await client.answer()
    {"close": client.close, "reset": client.reset}[way]()
    closed = await bench.events.closed()
    assert (closed.outcome, closed.phase, closed.client_left) == (Outcome.OK, Phase.DONE, None)
    assert closed.facts == TaskFacts(prompt_tokens=Fact(3), completion_tokens=Fact(7))
