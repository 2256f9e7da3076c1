"""What the upstream gets of a request: once, and again only where that can do no harm."""

import asyncio
from typing import Any

import pytest

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import Endpoint
from joulegate.gateway.servers import disconnect_monitor as aftercare
from joulegate.model import Outcome, Phase, SpanClosed, SpanOpened
from joulegate.testing.upstream import Peer, ScriptedUpstream, echo
from joulegate.units import Nanoseconds


async def test_a_request_goes_on_byte_for_byte(start: Any, serve: Any) -> None:
    """Target, fields and body reach the upstream as the client sent them, and nothing is added."""
    upstream = await serve(echo)
    bench = await start(upstream)
    client = await bench.client()
    target = "/v1/%61/../b//c;x?q=%2F&&r=[1]?"
    fields = b"X-B: 2\r\nx-a:  padded \r\nX-B: 3\r\nAuthorization: Bearer k\r\n"
    hop = b"Connection: x-hop, Upgrade\r\nX-Hop: 1\r\nTE: trailers\r\nProxy-Connection: a\r\n"
    hop += b"HTTP2-Settings: b\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\n"
    await client.ask(target, body=b"{}", fields=fields + hop)
    await client.answer()
    request = upstream.requests[0]
    assert request.target == target.encode()
    assert request.fields == [
        (b"Host", b"test"), (b"X-B", b"2"), (b"x-a", b"padded"), (b"X-B", b"3"),
        (b"Authorization", b"Bearer k"), (b"Content-Length", b"2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "target", ["/?", "/v1?", "//", "/a%00b", "/%", "/a\\b", "/v1/\xe7\x8c\xab", "/.%2e/"]
)
async def test_no_target_is_rewritten(start: Any, serve: Any, target: str) -> None:
    """An empty query, odd escapes and dots stay."""
    upstream = await serve(echo)
    bench = await start(upstream)
    client = await bench.client()
    await client.send(b"GET " + target.encode("latin-1") + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.answer()
    assert upstream.requests[0].target == target.encode("latin-1")
    assert upstream.requests[0].fields == [(b"Host", b"a")]


async def test_a_refused_connection_is_a_502_at_once(start: Any, soon: Any) -> None:
    """A server that is not there is said so, in less than 100 ms, without Retry-After."""
    async with ScriptedUpstream(echo) as gone:
        port = gone.port
    bench = await start(UpstreamConfig("llm", (Endpoint("http", "127.0.0.1", port),)))
    client = await bench.client()
    loop = asyncio.get_running_loop()
    before = loop.time()
    await client.ask(body=b'{"model":"m"}')
    status, fields, body = await client.answer()
    assert loop.time() - before < 0.5
    assert (status, "retry-after" in fields) == (502, False)
    assert b"upstream_refused" in body
    closed = await bench.events.closed()
    assert (closed.outcome, closed.status) == (Outcome.UPSTREAM_REFUSED, 502)
    assert (await bench.events.opened()).asked.model == "m"


async def test_a_post_is_tried_exactly_once(start: Any, serve: Any) -> None:
    """A fresh connection that breaks may have begun the work: it is not done twice."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask(body=b"{}")
    assert (await client.answer())[0] == 502
    assert len(upstream.requests) == 1
    assert (await bench.events.closed()).outcome is Outcome.UPSTREAM_RESET


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_connection_closed_while_idle_is_replaced(start: Any, serve: Any, way: str) -> None:
    """A kept connection that breaks before any byte of an answer costs the client nothing."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        await peer.answer(request.body)
        if await peer.head():  # The next request is on its way while this end closes.
            peer.close() if way == "close" else peer.reset()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    for body in (b"1", b"2"):
        await client.ask(body=body)
        assert (await client.answer())[::2] == (200, body)
    assert len(upstream.peers) == 2
    assert [event.outcome for event in await bench.events.some(SpanClosed, 2)] == [Outcome.OK, Outcome.OK]


async def test_a_kept_connection_that_began_to_answer_is_not_tried_again(start: Any, serve: Any) -> None:
    """Half a head shows that the work had begun."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"first")
        if await peer.request():
            await peer.send(b"HTTP/1.1 20")

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask(body=b"1")
    await client.answer()
    await client.ask(body=b"2")
    assert (await client.answer())[0] == 502
    assert len(upstream.peers) == 1


@pytest.mark.parametrize("size", [100_000, 3_000_000])
async def test_what_cannot_be_sent_again_does_not_go_over_a_kept_connection(
    start: Any, serve: Any, size: int
) -> None:
    """A server that closes a kept connection as the next request arrives costs a large upload nothing."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        await peer.answer(b"%d" % len(request.body))
        if await peer.head():
            peer.reset()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask(body=b"1")
    await client.answer()
    await client.ask(body=b"2" * size)
    assert (await client.answer())[::2] == (200, b"%d" % size)
    assert len(upstream.peers) == 2


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_post_that_had_begun_is_not_sent_again(start: Any, serve: Any, way: str) -> None:
    """A server that works on a request over a kept connection and breaks works on it once."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"first")
        if await peer.request():
            await asyncio.sleep(0.1)  # its work
            peer.close() if way == "close" else peer.reset()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask(body=b"1")
    await client.answer()
    await client.ask(body=b"2")
    assert (await client.answer())[0] == 502
    assert len(upstream.requests) == 2


async def test_a_large_upload_is_streamed(start: Any, serve: Any) -> None:
    """The upstream gets the beginning while the rest is not sent yet, and all of it in the end."""
    size, seen = 32 * 2**20, asyncio.Event()
    received = 0

    async def script(peer: Peer) -> None:
        nonlocal received
        await peer.head()
        while received < size:
            received += len(await peer.read())
            seen.set()
        await peer.answer(b"%d" % received)

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask("/upload", method="PUT", fields=b"Content-Length: %d\r\n" % size)
    await client.send(b"x" * 2**20)
    await seen.wait()
    for _ in range(size // 2**20 - 1):
        await client.send(b"x" * 2**20)
    assert (await client.answer())[2] == b"%d" % size
    assert (await bench.events.opened()).body_bytes == size


async def test_an_upload_waits_for_a_slow_upstream(start: Any, serve: Any) -> None:
    """Back-pressure reaches the client: the gate takes no more than it can pass on."""
    go, size = asyncio.Event(), 64 * 2**20

    async def script(peer: Peer) -> None:
        await peer.head()
        await go.wait()
        left = size
        while left:
            left -= len(await peer.read(2**20))
        await peer.answer(b"all")

    bench = await start(await serve(script))
    client = await bench.client()
    await client.ask("/upload", method="PUT", fields=b"Content-Length: %d\r\n" % size)
    sent = 0
    try:
        async with asyncio.timeout(1):
            while sent < size:
                await client.send(b"x" * 2**18)
                sent += 2**18
    except TimeoutError:
        go.set()
    assert sent < 24 * 2**20, "what the gate does not take stays with the client"
    client.writer.write(b"x" * (size - sent - 2**18))
    assert (await client.answer())[2] == b"all"


@pytest.mark.parametrize("target", ["/v1/x", "/other"])
async def test_a_chunked_body_stays_chunked(start: Any, serve: Any, target: str) -> None:
    """Chunks arrive as chunks, trailers end with this hop."""
    upstream = await serve(echo)
    bench = await start(upstream)
    client = await bench.client()
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n".encode()
    await client.send(head + b"3\r\nabc\r\n")
    await client.send(b"2\r\nde\r\n0\r\nX: y\r\n\r\n")
    assert (await client.answer())[2] == b"abcde"
    request = upstream.requests[0]
    assert request.all(b"transfer-encoding") == [b"chunked"]
    assert request.all(b"trailer") == []
    await client.ask(target, body=b"next")
    assert (await client.answer())[2] == b"next"


async def test_a_client_that_waits_for_a_go_gets_it(start: Any, serve: Any) -> None:
    """``Expect: 100-continue`` is met by the gate and ends with it."""
    upstream = await serve(echo)
    bench = await start(upstream)
    for body in (b"small", b"z" * 200_000):
        client = await bench.client()
        fields = b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(body)
        await client.ask("/x", method="PUT", fields=fields)
        assert (await client.head())[0] == 100
        await client.send(body)
        assert (await client.answer())[::2] == (200, body)
    assert [request.all(b"expect") for request in upstream.requests] == [[], []]


async def test_a_request_that_is_refused_gets_no_go(start: Any, serve: Any, target: Any) -> None:
    """Nobody uploads a gigabyte to hear that it goes nowhere."""
    bench = await start(target(await serve(echo), path="/a"), target(await serve(echo), name="b", path="/b"))
    client = await bench.client()
    await client.ask("/c", method="PUT", fields=b"Expect: 100-continue\r\nContent-Length: 1000000\r\n")
    status, fields = await client.head()
    assert (status, fields["connection"]) == (404, "close")


@pytest.mark.parametrize(("size", "status"), [(10, 408), (100_000, 408)])
async def test_a_client_that_stalls_in_its_body_is_given_up(
    start: Any, serve: Any, timeouts: Any, size: int, status: int
) -> None:
    """Half a body is not waited for for ever, and never looks complete to the upstream."""
    complete = []

    async def script(peer: Peer) -> None:
        complete.append(await peer.request())

    bench = await start(await serve(script), timeouts=timeouts(body=0.1))
    client = await bench.client()
    await client.ask("/x", method="PUT", fields=b"Content-Length: %d\r\n" % size)
    await client.send(b"x" * (size - 1))
    got, fields, _ = await client.answer()
    assert (got, fields["connection"]) == (status, "close")
    await client.closed()
    assert complete in ([], [None])
    if size > 65_536:
        closed = await bench.events.closed()
        assert (closed.outcome, closed.phase) == (Outcome.CLIENT_TIMEOUT, Phase.REQUEST)


@pytest.mark.parametrize("target", ["/v1/x", "/other"])
async def test_a_body_with_broken_framing_is_refused(start: Any, serve: Any, target: str) -> None:
    """A chunk that is none ends the request, and the upstream never sees a whole one."""
    complete = []

    async def script(peer: Peer) -> None:
        complete.append(await peer.request())

    bench = await start(await serve(script))
    client = await bench.client()
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n".encode()
    await client.send(head + b"Expect: 100-continue\r\n\r\n")
    assert (await client.head())[0] == 100
    await client.send(b"3\r\nabc\r\nXX\r\n")
    assert (await client.answer())[0] == 400
    await client.closed()
    assert complete in ([], [None])


async def test_an_early_answer_ends_the_upload(start: Any, serve: Any, soon: Any) -> None:
    """A server that refuses before the body has come is heard, and the rest goes nowhere."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.answer(b"too large", status="413 Content Too Large")
        await peer.left()

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask("/x", method="PUT", fields=b"Content-Length: 100000000\r\n")
    await client.send(b"x" * 100_000)
    status, fields, body = await client.answer()
    assert (status, fields["connection"], body) == (413, "close", b"too large")
    again = await bench.client()
    await again.ask("/x", method="PUT", body=b"y" * 100_000)
    assert (await again.answer())[0] == 413
    assert len(upstream.peers) == 2, "a connection with half a request on it is not used again"
    async with soon():
        await upstream.peers[0].gone.wait()
    assert (await bench.events.closed()).outcome is Outcome.CLIENT_ERROR
    assert len(bench.events.of(SpanOpened)) == 2
    async with asyncio.timeout(5):
        assert await client.reader.read() == b"", "the upload is over, the connection too"


@pytest.mark.parametrize(("method", "answer", "length"), [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "99"),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "7"),
])  # fmt: skip
async def test_answers_without_a_body_end_with_their_head(
    start: Any, serve: Any, method: str, answer: bytes, length: str | None
) -> None:
    """The connection goes on after HEAD, 204 and 304, on both sides."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(answer)

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    for _ in range(3):
        await client.ask("/x", method=method)
        _, fields, _ = await client.answer(method)
        assert fields.get("content-length") == length
        assert "transfer-encoding" not in fields
    assert len(upstream.peers) == 1


async def test_head_and_get_alternate_on_one_connection(start: Any, serve: Any) -> None:
    """What one request's answer has is not expected of the next one's."""

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            await peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + b"ok" * (b"GET" in request.line)
            )

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    for method, body in (("HEAD", b""), ("GET", b"ok"), ("HEAD", b""), ("GET", b"ok")):
        await client.ask("/x", method=method)
        assert (await client.answer(method))[2] == body
    assert len(upstream.peers) == 1


async def test_a_header_field_of_32_kib_passes(start: Any, serve: Any) -> None:
    """Large cookies and tokens are no reason to refuse."""
    upstream = await serve(echo)
    bench = await start(upstream)
    client = await bench.client()
    await client.ask(body=b"{}", fields=b"Cookie: " + b"c" * 32_768 + b"\r\n")
    assert (await client.answer())[0] == 200
    assert len(upstream.requests[0].all(b"cookie")[0]) == 32_768


async def test_redirects_and_cookies_are_the_clients_own(start: Any, serve: Any) -> None:
    """The gate follows no redirect and keeps no cookie."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            fields = [b"Location: http://127.0.0.1:1/", b"Set-Cookie: a=1", b"Set-Cookie: b=2"]
            await peer.answer(b"", status="302 Found", fields=fields)

    upstream = await serve(script)
    bench = await start(upstream)
    client = await bench.client()
    for _ in range(2):
        await client.ask(body=b"{}")
        assert (await client.answer())[0] == 302
    assert all(request.all(b"cookie") == [] for request in upstream.requests)
    assert len(upstream.requests) == 2


async def test_a_server_that_works_on_without_its_client_is_found_out(
    start: Any, serve: Any, target: Any, soon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is cut at once, the span lasts until the server has stopped, and the report names it."""
    monkeypatch.setattr(aftercare, "GRACE", 0)
    looks: list[bytes] = []
    cut = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        if request.target == b"/slots":
            looks.append(request.line)
            await peer.answer(b"[]" if len(looks) > 2 else b'[{"is_processing":true}]')
            return
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.chunks(b"data: 1\n\n", last=False)
        await peer.left()
        cut.set()

    bench = await start(target(await serve(script), kind="llamacpp"))
    client = await bench.client()
    await client.ask(body=b'{"stream":true}')
    await client.head()
    assert not looks, "the server is not watched before the client has left"
    client.reset()
    async with soon():
        closed = await bench.events.closed()
        await cut.wait()
    assert closed.outcome is Outcome.OVERRAN
    assert closed.client_left is not None
    assert closed.t - closed.client_left >= 10**8, "it was looked at three times, a tenth of a second apart"
    assert len(looks) == 3
    (report,) = bench.gate.report().upstreams
    assert report.keeps_working is True
    assert len(bench.events.of(SpanClosed)) == 1
    assert bench.gate.report().in_flight == (("upstream", 0),)


async def test_a_gate_that_ends_closes_what_it_watches(
    start: Any, serve: Any, target: Any, soon: Any
) -> None:
    """A span whose server works on is closed before the gate is gone."""
    watched = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request
        if request.target == b"/slots":
            await peer.answer(b'[{"is_processing":true}]')
            watched.set()
            return
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.left()

    bench = await start(target(await serve(script), kind="llamacpp"))
    client = await bench.client()
    await client.ask(body=b"{}")
    await client.head()
    client.reset()
    async with soon():
        await watched.wait()
    assert bench.events.of(SpanClosed) == []
    await bench.gate.drain(Nanoseconds(0))
    (closed,) = bench.events.of(SpanClosed)
    assert closed.outcome is Outcome.CANCELLED
