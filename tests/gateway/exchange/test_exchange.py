"""One exchange: bytes, order, cancel and cut, against real sockets."""

import asyncio
from typing import Any

import pytest

from joulegate.model import Outcome, Phase, SpanChunks, SpanClosed, SpanFirstByte, SpanOpened
from joulegate.ports import Rewrite
from joulegate.testing.upstream import Peer, echo

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def stream_and_wait(peer: Peer) -> None:
    """One chunk, then silence until the gate leaves."""
    await peer.request()
    await peer.send(STREAM)
    await peer.chunks(b"data: 1\n\n", last=False)
    await peer.left()


async def never_answer(peer: Peer) -> None:
    """Read the request, then wait for the gate to leave."""
    await peer.request()
    await peer.left()


async def never_read(peer: Peer) -> None:
    """Read the head and nothing of the body."""
    await peer.head()
    await asyncio.Event().wait()


async def test_an_answer_passes_and_its_span_is_told(start: Any, serve: Any) -> None:
    """What the upstream answers reaches the client, and the meter hears of it once."""
    bench = await start(await serve(echo))
    client = await bench.client()
    await client.ask(body=b'{"model":"m"}')
    status, fields, body = await client.answer()
    assert (status, body) == (200, b'{"model":"m"}')
    closed = await bench.events.closed()
    assert (closed.outcome, closed.phase, closed.status) == (Outcome.OK, Phase.DONE, 200)
    assert fields["joulegate-request-id"] == closed.id
    opened = await bench.events.opened()
    assert (opened.asked.model, opened.body_bytes, opened.route) == ("m", 13, "chat.completions")
    assert closed.overhead_request is not None
    assert closed.overhead_response is not None


async def test_each_chunk_arrives_before_the_next_one_is_sent(start: Any, serve: Any, soon: Any) -> None:
    """A stream is never held back to be gathered."""
    step = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        for number in range(5):
            await peer.chunks(b"data: %d\n\n" % number, last=False)
            await step.acquire()
        await peer.chunks()

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask(body=b"{}")
    await client.head()
    async with soon():
        received = []
        async for chunk in client.chunks():
            received.append(chunk)
            step.release()
    assert received == [b"data: %d\n\n" % number for number in range(5)]
    closed = await bench.events.closed()
    assert (closed.streamed, closed.response_bytes) == (True, 45)
    assert len(bench.events.of(SpanFirstByte)) == 1
    assert sum(len(event.times) for event in bench.events.of(SpanChunks)) == 5
    assert sum(sum(event.sizes) for event in bench.events.of(SpanChunks)) == 45


async def test_many_streams_run_at_once(start: Any, serve: Any, soon: Any) -> None:
    """There is no hidden bound on connections: the 200th stream is not kept waiting."""
    bench = await start(await serve(stream_and_wait))
    clients = [await bench.client() for _ in range(200)]
    for client in clients:
        await client.ask(body=b"{}")
    async with soon():
        statuses = [(await client.head())[0] for client in clients]
    assert statuses == [200] * 200
    assert bench.gate.report().in_flight == (("upstream", 200),)


@pytest.mark.parametrize(
    ("script", "phase", "body"),
    [
        (never_read, Phase.REQUEST, None),
        (never_answer, Phase.WAITING, b"{}"),
        (stream_and_wait, Phase.RESPONSE, b"{}"),
    ],
)
@pytest.mark.parametrize("way", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_stops_the_upstream_at_once(
    start: Any, serve: Any, soon: Any, script: Any, phase: Phase, body: bytes | None, way: str
) -> None:
    """In every phase the upstream's connection is cut as soon as the client is gone."""
    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    if body is None:
        await client.ask(fields=b"Content-Length: 100000000\r\n", method="PUT")
        await client.send(b"x" * 100_000)
    else:
        await client.ask(body=body)
    peer = await upstream.connected()
    if phase is Phase.WAITING:
        await bench.events.opened()
    if phase is Phase.RESPONSE:
        await bench.events.some(SpanFirstByte)
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.01)  # one that ends its half at once waits for its answer
    left = loop.time()
    {"close": client.close, "reset": client.reset, "half-close": client.writer.write_eof}[way]()
    async with soon():
        closed = await bench.events.closed()
        took = loop.time() - left
        if script is not never_read:
            await peer.gone.wait()
    assert took < 0.5, "the target is 50 ms; this only tells prompt from never"
    assert (closed.outcome, closed.phase) == (Outcome.CANCELLED, phase)
    assert closed.client_left is not None
    assert bench.gate.report().in_flight == (("upstream", 0),)


async def test_a_client_that_leaves_in_a_stalled_upload_is_noticed(start: Any, serve: Any, soon: Any) -> None:
    """Nothing is read from the client while the upstream takes nothing, and still its leaving shows."""
    upstream = await serve(never_read)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask(fields=b"Content-Length: 100000000\r\n", method="PUT")
    pushing = asyncio.ensure_future(client.send(b"x" * 50_000_000))
    await upstream.connected()
    before = -1
    async with soon():
        while before != (before := client.writer.transport.get_write_buffer_size()) or before > 49_000_000:
            await asyncio.wait({pushing}, timeout=0.1)
        client.reset()
        closed = await bench.events.closed()
    pushing.cancel()
    assert (closed.outcome, closed.phase) == (Outcome.CANCELLED, Phase.REQUEST)


async def test_an_upstream_may_finish_without_its_client(
    start: Any, serve: Any, target: Any, soon: Any
) -> None:
    """With ``on_client_leave = "finish"`` the answer is read to its end and counted."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await peer.chunks(b"one", last=False)
        await go.wait()
        await peer.chunks(b"two")
        await peer.left()

    bench = await start(target(await serve(script), on_client_leave="finish"))
    client = await bench.client()
    await client.ask(body=b"{}")
    await bench.events.some(SpanFirstByte)
    client.reset()
    async with soon():
        while bench.connections():
            await asyncio.sleep(0)
    go.set()
    closed = await bench.events.closed()
    assert (closed.outcome, closed.response_bytes, closed.phase) == (Outcome.CANCELLED, 6, Phase.DONE)
    assert closed.client_left is not None
    assert closed.client_left <= closed.t
    assert bench.gate.report().in_flight == (("upstream", 0),)


@pytest.mark.parametrize("begun", [True, False])
async def test_an_upstream_that_fails_without_its_client_is_a_cancel(
    start: Any, serve: Any, target: Any, soon: Any, begun: bool
) -> None:
    """Nobody was cut: the client had left before."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if begun:
            await peer.send(STREAM)
            await peer.chunks(b"one", last=False)
        await go.wait()
        peer.reset()

    bench = await start(target(await serve(script), on_client_leave="finish"))
    client = await bench.client()
    await client.ask(body=b"{}")
    await bench.events.some(SpanFirstByte if begun else SpanOpened)
    client.reset()
    async with soon():
        while bench.connections():
            await asyncio.sleep(0)
    go.set()
    closed = await bench.events.closed()
    assert (closed.outcome, closed.status) == (Outcome.CANCELLED, 200 if begun else None)
    assert bench.gate.report().in_flight == (("upstream", 0),)


async def test_a_client_that_ends_its_half_behind_its_request_is_answered(start: Any, serve: Any) -> None:
    """It sends no more and waits, as ``nc -N`` does; the connection ends after the answer."""
    bench = await start(await serve(echo))
    client = await bench.client()
    await client.ask(body=b"one")
    client.writer.write_eof()
    assert (await client.answer())[::2] == (200, b"one")
    assert await client.closed() == b""
    assert (await bench.events.closed()).outcome is Outcome.OK


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_cut_chunked_answer_never_looks_complete(start: Any, serve: Any, way: str) -> None:
    """Wherever the upstream breaks off, the client gets an error or sees the break."""
    whole = STREAM + b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        await peer.send(whole[: int(request.body)])
        peer.close() if way == "close" else peer.reset()

    bench = await start(await serve(script))
    for cut in range(len(whole)):
        client = await bench.client()
        await client.ask(body=b"%d" % cut)
        try:
            status, _, _ = await client.answer()
        except (asyncio.IncompleteReadError, ConnectionResetError, ValueError):
            status = 0
        closed = await bench.events.closed(cut + 1)
        expected = Outcome.UPSTREAM_RESET if status else Outcome.UPSTREAM_TRUNCATED
        assert (status, closed.outcome) == (status and 502, expected), cut
        assert closed.status == (status or 200)
        client.close()


@pytest.mark.parametrize("size", [0, 1, 99_999])
async def test_a_short_answer_never_looks_complete(start: Any, serve: Any, size: int) -> None:
    """Fewer bytes than Content-Length says are seen to be too few."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * size)

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask(body=b"{}")
    with pytest.raises(asyncio.IncompleteReadError) as cut:
        await client.answer()
    assert len(cut.value.partial) == size
    assert (await bench.events.closed()).outcome is Outcome.UPSTREAM_TRUNCATED


async def test_an_answer_that_ends_with_its_connection_is_reset_when_cut(start: Any, serve: Any) -> None:
    """An old client, for whom the end is the only frame, sees a reset and no end."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await peer.chunks(b"half", last=False)
        await go.wait()

    bench = await start(await serve(script))
    client = await bench.client()
    await client.send(b"GET /v1/x HTTP/1.0\r\n\r\n")
    await client.head()
    assert await client.reader.readexactly(4) == b"half"
    go.set()
    with pytest.raises(ConnectionResetError):
        await client.reader.read()


async def test_an_answer_that_ends_with_its_connection_becomes_chunks(start: Any, serve: Any) -> None:
    """A client that can be told the end is told it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc")

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask(body=b"{}")
    status, fields, body = await client.answer()
    assert (status, fields["transfer-encoding"], body) == (200, "chunked", b"abc")
    assert "connection" not in fields
    assert (await bench.events.closed()).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("script", "changed", "status", "outcome"),
    [
        (never_answer, {"first_byte": 0.1}, 504, Outcome.UPSTREAM_TIMEOUT),
        (stream_and_wait, {"idle": 0.1}, None, Outcome.STREAM_IDLE_TIMEOUT),
    ],
)
async def test_an_upstream_that_hangs_is_given_up(
    start: Any,
    serve: Any,
    timeouts: Any,
    script: Any,
    changed: dict[str, float],
    status: int | None,
    outcome: Outcome,
) -> None:
    """Each wait has its bound, and the upstream is cut when it is over."""
    upstream = await serve(script)
    bench = await start(upstream, timeouts=timeouts(**changed))
    client = await bench.client()
    await client.ask(body=b"{}")
    if status:
        assert (await client.answer())[0] == status
    else:
        with pytest.raises(asyncio.IncompleteReadError):
            await client.answer()
    assert (await bench.events.closed()).outcome is outcome
    await asyncio.wait_for(upstream.peers[0].gone.wait(), 5)


async def test_a_client_that_does_not_read_holds_the_upstream_back(
    start: Any, serve: Any, timeouts: Any
) -> None:
    """Back-pressure reaches the upstream, and a client that never reads is given up."""
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(STREAM)
        while not peer.gone.is_set():
            await peer.chunks(b"x" * 65_536, last=False)
            sent += 65_536

    bench = await start(await serve(script), timeouts=timeouts(idle=0.3))
    client = await bench.client(buffer=8192)
    await client.ask(body=b"{}")
    closed = await bench.events.closed()
    assert closed.outcome is Outcome.CLIENT_TIMEOUT
    assert sent < 32 * 2**20, "the rest stayed with the upstream"


async def test_a_large_answer_passes_in_constant_memory(start: Any, serve: Any) -> None:
    """64 MiB pass and the process does not grow by them."""
    size = 64 * 2**20

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 2**20):
            await peer.send(b"y" * 2**20)

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask("/large", body=b"{}")
    _, fields = await client.head()
    before, read = _rss(), 0
    while read < int(fields["content-length"]):
        read += len(await client.reader.read(2**20))
    assert _rss() - before < 24 * 2**20
    assert (await bench.events.closed()).response_bytes == size


def _rss() -> int:
    with open("/proc/self/statm") as statm:  # noqa: PTH123 (one line)
        return int(statm.read().split()[1]) * 4096


class Upper:
    """A filter that takes every ``x`` out and says at the end that it did."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.replace(b"x", b"")

    def finish(self) -> bytes:
        return b"!"


STREAMED = b'{"stream":true}'


def ask_usage(body: bytes) -> Rewrite:
    return Rewrite(b'{"stream_options":1}', Upper())


async def test_what_the_client_did_not_ask_for_is_filtered(start: Any, serve: Any, known: Any) -> None:
    """The upstream gets the changed body, the client an answer without what it did not ask for."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        assert request.body == b'{"stream_options":1}'
        assert request.all(b"accept-encoding") == []
        await peer.answer(b"axbxc")

    bench = await start(await serve(script), protocols={"known": known(rewrites=ask_usage)})
    client = await bench.client()
    await client.ask(body=STREAMED, fields=b"Accept-Encoding: gzip\r\n")
    status, fields, body = await client.answer()
    assert (status, body, fields["transfer-encoding"]) == (200, b"abc!", "chunked")


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable Entity", "500 Oh"])
async def test_an_upstream_that_refuses_to_count_is_asked_without_it_once(
    start: Any, serve: Any, known: Any, status: str
) -> None:
    """The client never sees the refusal of what it did not ask for, and it does not happen twice."""
    bodies = []

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            bodies.append(request.body)
            if b"stream_options" in request.body:
                await peer.answer(b'{"error":"unknown field stream_options"}', status=status)
            else:
                await peer.answer(b"fixed")

    bench = await start(await serve(script), protocols={"known": known(rewrites=ask_usage)})
    client = await bench.client()
    for _ in range(2):
        await client.ask(body=STREAMED)
        assert (await client.answer())[::2] == (200, b"fixed")
    assert bodies == [b'{"stream_options":1}', STREAMED, STREAMED]
    assert [event.outcome for event in await bench.events.some(SpanClosed, 2)] == [Outcome.OK] * 2
    assert len(bench.events.of(SpanOpened)) == 2


@pytest.mark.parametrize("body", [b"other fault", b"z" * 200_000])
async def test_any_other_refusal_reaches_the_client(start: Any, serve: Any, known: Any, body: bytes) -> None:
    """A 400 that is the client's own is passed on whole."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(body, status="400 Bad Request")

    bench = await start(await serve(script), protocols={"known": known(rewrites=ask_usage)})
    client = await bench.client()
    await client.ask(body=STREAMED)
    assert (await client.answer())[::2] == (400, body)
    assert (await bench.events.closed()).outcome is Outcome.CLIENT_ERROR


@pytest.mark.parametrize(
    "fault",
    [
        "request_body",
        "asked",
        "rewrite",
        "response_head",
        "response_body",
        "response_end",
        "facts",
        "timings",
    ],
)
async def test_an_observer_that_raises_harms_nothing(start: Any, serve: Any, known: Any, fault: str) -> None:
    """Wherever listening fails, the bytes pass and the span is told once and marked."""
    bench = await start(await serve(echo), protocols={"known": known(fault=fault)})
    client = await bench.client()
    await client.ask(body=STREAMED)
    assert (await client.answer())[::2] == (200, STREAMED)
    closed = await bench.events.closed()
    assert (closed.parse_failed, closed.outcome) == (True, Outcome.OK)
    assert bench.gate.report().parse_failures == 1
