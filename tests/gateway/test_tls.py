"""Upstreams that speak TLS, with certificates of an authority that is made for the test."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from msgspec.structs import replace

from joulegate.config.addresses import Endpoint
from joulegate.model import Outcome
from joulegate.testing.upstream import Peer, echo

LARGE = 3 * 2**20


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


@pytest.fixture
def server(authority: trustme.CA) -> Any:
    """Gives the server's side of TLS with a certificate for a host."""

    def tls(host: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(host).configure_cert(context)
        return context

    return tls


async def refused(bench: Any) -> str:
    """Ask; give the message of the 502."""
    client = await bench.client()
    await client.ask(body=b"{}")
    status, _, body = await client.answer()
    assert status == 502
    assert (await bench.events.closed()).outcome is Outcome.UPSTREAM_REFUSED
    return str(json.loads(body)["error"]["message"])


async def test_requests_go_to_a_server_whose_certificate_is_good(
    start: Any, serve: Any, target: Any, server: Any, ca_file: str
) -> None:
    """Bodies of any size pass both ways, the ``Host`` is the server's; small ones share a connection."""
    upstream = await serve(echo, tls=server())
    bench = await start(target(upstream, ca_file=ca_file))
    client = await bench.client()
    for size in (2, 2, LARGE):
        await client.ask(body=b"x" * size)
        status, _, body = await client.answer()
        assert (status, len(body)) == (200, size)
    hosts = [request.all(b"host") for request in upstream.requests]
    assert hosts == [[b"127.0.0.1:%d" % upstream.port]] * 3
    assert len(upstream.peers) == 2


async def test_a_client_that_leaves_a_stream_stops_a_server_behind_tls(
    start: Any, serve: Any, target: Any, server: Any, ca_file: str, soon: Any
) -> None:
    """The server sees its connection go, as without TLS."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.chunks(b"data: 1\n\n", last=False)
        await peer.left()

    upstream = await serve(script, tls=server())
    bench = await start(target(upstream, ca_file=ca_file))
    client = await bench.client()
    await client.ask(body=b"{}")
    await client.head()
    client.close()
    async with soon():
        await upstream.peers[0].gone.wait()
    assert (await bench.events.closed()).outcome is Outcome.CANCELLED


async def test_a_certificate_of_an_unknown_authority_is_not_accepted(
    start: Any, serve: Any, target: Any, server: Any
) -> None:
    """Client and log hear why, and what to write; nothing of the request is sent."""
    upstream = await serve(echo, tls=server())
    message = await refused(await start(target(upstream)))
    assert "certificate is not accepted: unable to get local issuer certificate" in message
    assert "ca_file" in message
    assert not upstream.requests


async def test_a_certificate_of_another_host_is_not_accepted(
    start: Any, serve: Any, target: Any, server: Any, ca_file: str
) -> None:
    """A good authority is not enough; ``ca_file`` would not help, so it is not named."""
    upstream = await serve(echo, tls=server("llm.example.org"))
    message = await refused(await start(target(upstream, ca_file=ca_file)))
    assert "certificate is not accepted" in message
    assert "127.0.0.1" in message.partition("accepted")[2]
    assert "ca_file" not in message
    assert not upstream.requests


async def test_a_server_that_speaks_no_tls_is_told_from_a_bad_certificate(
    start: Any, serve: Any, target: Any
) -> None:
    """The remedy is another URL."""

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    plain = target(await serve(script))
    message = await refused(await start(over_tls(plain)))
    assert "write http://" in message


def over_tls(plain: Any) -> Any:
    """Give the same target, taken to speak TLS."""
    return replace(plain, endpoints=(Endpoint("https", plain.endpoints[0].host, plain.endpoints[0].port),))


async def test_what_else_goes_wrong_with_tls_is_told(start: Any, serve: Any, target: Any) -> None:
    """A server that refuses the greeting does it with an alert (RFC 8446, section 6): fatal, 40."""

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(b"\x15\x03\x03\x00\x02\x02\x28")

    message = await refused(await start(over_tls(target(await serve(script)))))
    assert "TLS: " in message
    assert "handshake failure" in message


async def test_a_handshake_that_never_ends_is_a_timeout(
    start: Any, serve: Any, target: Any, timeouts: Any
) -> None:
    """``timeout.connect`` is for the handshake too."""

    async def script(peer: Peer) -> None:
        await peer.left()

    bench = await start(over_tls(target(await serve(script))), timeouts=timeouts(connect=0.05))
    client = await bench.client()
    await client.ask(body=b"{}")
    assert (await client.answer())[0] == 504
    assert (await bench.events.closed()).outcome is Outcome.UPSTREAM_TIMEOUT


async def test_a_tunnel_goes_through_tls(
    start: Any, serve: Any, target: Any, server: Any, ca_file: str, soon: Any
) -> None:
    """A websocket of an https upstream is one inside TLS."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        await peer.send(await peer.read())

    upstream = await serve(script, tls=server())
    bench = await start(target(upstream, ca_file=ca_file))
    client = await bench.client()
    await client.ask("/v1/realtime", method="GET", fields=b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    assert (await client.head())[0] == 101
    await client.send(b"\x81\x02hi")
    async with soon():
        assert await client.reader.readexactly(4) == b"\x81\x02hi"
