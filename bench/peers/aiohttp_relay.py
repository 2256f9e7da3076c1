"""The plain aiohttp + uvloop relay that joulegate is compared with.

    python bench/peers/aiohttp_relay.py PORT UPSTREAM_PORT

A server handler and a client session, bodies streamed both ways, no metering: what one writes first.
"""

import sys

import aiohttp
import uvloop
from aiohttp import web

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
UPSTREAM = web.AppKey("upstream", str)
SESSION = web.AppKey("session", aiohttp.ClientSession)


async def relay(request: web.Request) -> web.StreamResponse:
    """Relay one request."""
    headers = [(key, value) for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP]
    url = request.app[UPSTREAM] + request.path_qs
    body = await request.read()
    async with request.app[SESSION].request(request.method, url, headers=headers, data=body) as answer:
        kept = [(key, value) for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP]
        response = web.StreamResponse(status=answer.status)
        response.headers.extend(kept)
        if answer.content_length is not None:
            response.content_length = answer.content_length
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def application(upstream: int) -> web.Application:
    """Return the relay."""
    app = web.Application(client_max_size=1 << 30)
    app[UPSTREAM] = f"http://127.0.0.1:{upstream}"
    app[SESSION] = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
    )
    app.on_cleanup.append(lambda app: app[SESSION].close())
    app.router.add_route("*", "/{path:.*}", relay)
    return app


if __name__ == "__main__":
    uvloop.install()
    port, upstream_port = map(int, sys.argv[1:])
    web.run_app(application(upstream_port), host="127.0.0.1", port=port, access_log=None, print=None)
