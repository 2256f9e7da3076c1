"""What stands behind an upstream's address."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from joulegate.detect import Server, servers
from joulegate.testing.upstream import Peer, ScriptedUpstream


async def ask(handler: object) -> Server:
    app = web.Application()
    app.router.add_get("/v1/models", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        return (await servers([f"http://{host}:{port}/"]))[0]
    finally:
        await runner.cleanup()


async def test_a_model_list_tells_the_server_and_its_models() -> None:
    """vLLM signs its models."""

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "qwen", "owned_by": "vllm", "max": 1}]})

    assert await ask(models) == Server(up=True, kind="vLLM", models=("qwen",))


async def test_a_server_header_without_a_version_is_a_name() -> None:
    """llama.cpp names itself in a header; a framework's name and version say nothing about the server."""

    async def named(_: web.Request) -> web.Response:
        return web.json_response({"data": []}, headers={"Server": "llama.cpp"})

    async def framework(_: web.Request) -> web.Response:
        return web.json_response({"data": []}, headers={"Server": "Python/3.11 aiohttp/3.14"})

    assert (await ask(named)).kind == "llama.cpp"
    assert (await ask(framework)).kind is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b'{"data": 3}', b'{"data": [{"id": 4}]}'])
async def test_an_answer_that_is_no_model_list_is_a_server_of_unknown_kind(body: bytes) -> None:
    """Garbage is an answer too."""

    async def garbage(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Server": "x/1"})

    assert await ask(garbage) == Server(up=True)


async def test_a_redirect_is_not_followed() -> None:
    """Only configured addresses are asked."""

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/")

    assert (await ask(away)).up


async def test_a_closed_port_is_a_server_that_is_down() -> None:
    """A server that starts later is no error."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert await servers([f"http://127.0.0.1:{port}"]) == [Server(up=False)]


async def test_a_server_with_a_certificate_of_a_private_authority_is_asked(tmp_path: Path) -> None:
    """``ca_file`` counts for the questions too; without it the server is not believed."""
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    async def script(peer: Peer) -> None:
        if await peer.request():
            await peer.answer(b'{"data":[{"id":"m","owned_by":"vllm"}]}')

    async with ScriptedUpstream(script, tls=tls) as upstream:
        known = await servers([upstream.url], ca_files={upstream.url: str(file)})
        assert known == [Server(up=True, kind="vLLM", models=("m",))]
        assert await servers([upstream.url]) == [Server(up=False)]
