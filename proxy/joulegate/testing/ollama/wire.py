"""The wire: documents and lines in the spelling of Go's ``encoding/json``."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""What Go's ``encoding/json`` writes in place of these."""

Document = dict[str, Any]


async def asked(request: web.Request) -> Document:
    """Return the document a request brings; what is none is refused with 400."""
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text='{"error":"missing request body"}', content_type="application/json")
    return body


def answer(document: Document, status: int = 200) -> web.Response:
    """Return one document as a whole answer."""
    return web.Response(
        body=_json(document), status=status, headers={"Content-Type": "application/json; charset=utf-8"}
    )


def missing(body: Document) -> web.Response:
    """Return the answer to a request for a model that is not there."""
    return answer({"error": f"model '{body.get('model', '')}' not found"}, 404)


async def stream(request: web.Request, documents: AsyncIterator[Document]) -> web.StreamResponse:
    """Send each document as a line, as it comes."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    async for document in documents:
        await response.write(_json(document) + b"\n")
    return response


def told(numbers: Mapping[str, int]) -> dict[str, int]:
    """Leave out what is 0, as ``omitempty`` does."""
    return {name: number for name, number in numbers.items() if number}


def now() -> str:
    """Return the wall clock in Go's spelling."""
    return datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")


def _json(document: Document) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text.encode()
