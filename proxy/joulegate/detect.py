"""Finds out what stands behind an upstream's address, by questions that cost nothing.

For the start-up screen only: nothing that joulegate does later depends on the answers.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec
from msgspec import Struct

from joulegate import trust

PATIENCE = aiohttp.ClientTimeout(total=2)
LARGEST = 1 << 20
"""Bytes of an answer that are looked at."""

OWNERS = {"llamacpp": "llama.cpp", "vllm": "vLLM", "sglang": "SGLang", "library": "Ollama"}
"""What servers write into ``owned_by`` of their model list (seen in the sources of llama.cpp, vLLM 0.33,
SGLang 0.5.23 and Ollama)."""


class Server(Struct, frozen=True):
    """What answered."""

    up: bool
    kind: str | None = None
    """Type of the server in its makers' spelling; ``None`` is not known."""
    models: tuple[str, ...] = ()


class _Model(Struct):
    id: str
    owned_by: str = ""


class _Models(Struct):
    data: list[_Model] = []


async def servers(urls: Sequence[str], *, ca_files: Mapping[str, str] | None = None) -> list[Server]:
    """Ask all servers at once; one that hangs costs two seconds.

    ``ca_files`` are authorities by URL; without one they are the system's. Raises ``ConfigError`` for a file
    that holds none.
    """
    trusted = {url: trust.context(file) for url, file in (ca_files or {}).items()}
    async with aiohttp.ClientSession(timeout=PATIENCE, cookie_jar=aiohttp.DummyCookieJar()) as session:
        return list(await asyncio.gather(*(_server(session, url, trusted.get(url, True)) for url in urls)))


async def _server(session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | bool) -> Server:
    where = f"{url.rstrip('/')}/v1/models"
    try:
        async with session.get(where, allow_redirects=False, ssl=tls) as answer:
            return _read(await _body(answer), answer.headers.get("Server", ""))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return Server(up=False)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LARGEST:
            break
    return bytes(body)


def _read(body: bytes, software: str) -> Server:
    try:
        models = msgspec.json.decode(body, type=_Models).data
    except (msgspec.DecodeError, UnicodeDecodeError):
        models = []
    kinds = [OWNERS[model.owned_by] for model in models if model.owned_by in OWNERS]
    named = software if software and "/" not in software else ""
    return Server(up=True, kind=next(iter(kinds), named) or None, models=tuple(model.id for model in models))
