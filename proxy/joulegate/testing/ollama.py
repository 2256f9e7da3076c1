"""A stand-in for Ollama: its routes and its bytes on the wire, the text by a real llama.cpp server behind it.

    python -m joulegate.testing.ollama --upstream http://127.0.0.1:8001 --model gemma3:270m --port 11434

Written from the source of Ollama 0.33.0-rc2 (https://github.com/ollama/ollama, ``server/routes.go`` and
``api/types.go``): a template makes one prompt of the messages, the runner completes it, and what the runner
reports becomes counts and durations. Tools, thinking, images and the making of models are left out. What is
under ``/v1`` is passed to llama.cpp as it is, where Ollama translates it; only the list of models is its own.
"""

import argparse
import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientResponse, ClientSession, web

VERSION = "0.33.0"
"""Of the Ollama whose answers these are."""
REMOTE = "https://ollama.com:443"
_LINES = "application/x-ndjson"
_OPTIONS = {"num_predict": "n_predict", "temperature": "temperature", "seed": "seed", "top_k": "top_k",
            "top_p": "top_p", "min_p": "min_p", "stop": "stop"}  # fmt: skip
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""What Go's ``encoding/json`` writes in place of these."""
_DETAILS = {"parent_model": "", "format": "gguf", "family": "gemma3", "families": ["gemma3"],
            "parameter_size": "268.10M", "quantization_level": "Q4_K_M"}  # fmt: skip
_DIGEST = "0" * 64

Document = dict[str, Any]


class OllamaServer:
    """Serves one model, and one as if it were elsewhere: ``async with OllamaServer(…) as server: …``."""

    def __init__(self, upstream: str, model: str, *, remote: str | None = None, port: int = 0) -> None:
        self._upstream = upstream
        self._model = model
        self._remote = remote
        self._port = port
        self._loaded = False
        self._session: ClientSession | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        addresses = self._runner.addresses if self._runner else []
        return f"http://127.0.0.1:{addresses[0][1]}" if addresses else ""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._session = ClientSession(self._upstream)
        self._runner = web.AppRunner(self._application(), handler_cancellation=True, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    def _application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.get("/", self._root),
                web.get("/api/version", self._version),
                web.get("/api/tags", self._tags),
                web.get("/api/ps", self._running),
                web.post("/api/show", self._show),
                web.post("/api/generate", self._generate),
                web.post("/api/chat", self._chat),
                web.post("/api/embed", self._embed),
                web.get("/v1/models", self._models),
                web.route("*", "/v1/{rest:.*}", self._pass),
            ]
        )
        return application

    # --- control -------------------------------------------------------------------------------------

    async def _root(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="Ollama is running")

    async def _version(self, request: web.Request) -> web.Response:
        del request
        return _document({"version": VERSION})

    async def _tags(self, request: web.Request) -> web.Response:
        del request
        return _document({"models": [self._listed(name) for name in self._names()]})

    async def _models(self, request: web.Request) -> web.Response:
        del request
        found = [
            {"id": name, "object": "model", "created": 1_795_460_399, "owned_by": "library"}
            for name in self._names()
        ]
        return _document({"object": "list", "data": found})

    async def _running(self, request: web.Request) -> web.Response:
        del request
        kept = {"expires_at": _now(), "size_vram": 0, "context_length": 2048}
        return _document({"models": [self._listed(self._model) | kept] if self._loaded else []})

    async def _show(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if self._known(body) is None:
            return _missing(body)
        capabilities = ["completion"]
        return _document({"details": _DETAILS, "model_info": {}, "capabilities": capabilities})

    def _names(self) -> list[str]:
        return [self._model, *([self._remote] if self._remote else [])]

    def _listed(self, name: str) -> Document:
        elsewhere = {"remote_model": name, "remote_host": REMOTE} if name == self._remote else {}
        size = {"modified_at": _now(), "size": 253_115_392, "digest": _DIGEST, "details": _DETAILS}
        return {"name": name, "model": name, **elsewhere, **size}

    def _known(self, body: Document) -> str | None:
        """Give the model of a request, its default tag left out or not."""
        asked = str(body.get("model", ""))
        return next((name for name in self._names() if asked in (name, name.removesuffix(":latest"))), None)

    # --- inference -----------------------------------------------------------------------------------

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        prompt = body.get("prompt") or ""
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        messages = [*system, {"role": "user", "content": prompt}]

        def part(text: str) -> Document:
            return {"response": text}

        return await self._answer(request, body, part, messages if prompt else [], raw=bool(body.get("raw")))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)

        def part(text: str) -> Document:
            return {"message": {"role": "assistant", "content": text}}

        return await self._answer(request, body, part, body.get("messages") or [], raw=False)

    async def _answer(
        self,
        request: web.Request,
        body: Document,
        part: Callable[[str], Document],
        messages: list[Document],
        *,
        raw: bool,
    ) -> web.StreamResponse:
        began = time.monotonic_ns()
        model = self._known(body)
        if model is None:
            return _missing(body)
        if not messages:
            self._loaded = body.get("keep_alive") != 0
            reason = "load" if self._loaded else "unload"
            return _document(
                {
                    "model": body["model"],
                    "created_at": _now(),
                    **part(""),
                    "done": True,
                    "done_reason": reason,
                }
            )
        elsewhere = {"remote_model": model, "remote_host": REMOTE} if model == self._remote else {}
        head = {"model": body["model"], **elsewhere}
        prompt = messages[-1]["content"] if raw else await self._template(messages)
        self._loaded = True
        parts = self._completed(prompt, body.get("options") or {}, began)
        if body.get("stream", True):
            return await _stream(request, parts, lambda text: {**head, "created_at": _now(), **part(text)})
        text, last = "", {}
        async for piece, end in parts:
            text, last = text + piece, end
        return _document({**head, "created_at": _now(), **part(text), **last})

    async def _template(self, messages: list[Document]) -> str:
        answer = await self._ask("/apply-template", {"messages": messages})
        return str((await answer.json())["prompt"])

    async def _completed(
        self, prompt: str, options: Mapping[str, Any], began: int
    ) -> AsyncIterator[tuple[str, Document]]:
        """Give pieces of text, each with the fields of its line; the last has counts and durations in ns."""
        wanted = {ours: options[theirs] for theirs, ours in _OPTIONS.items() if theirs in options}
        loaded = time.monotonic_ns()
        answer = await self._ask("/completion", {"prompt": prompt, "stream": True, **wanted})
        try:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    event = json.loads(line.removeprefix(b"data: "))
                    yield (
                        event["content"],
                        {"done": False} if not event["stop"] else _end(event, began, loaded),
                    )
        finally:
            answer.close()

    async def _embed(self, request: web.Request) -> web.Response:
        began = time.monotonic_ns()
        body = await _body(request)
        if self._known(body) is None:
            return _missing(body)
        loaded = time.monotonic_ns()
        answer = await self._ask("/v1/embeddings", {"input": body.get("input", "")})
        found = await answer.json()
        if answer.status != 200:
            return _document({"error": found["error"]["message"]}, answer.status)
        vectors = [one["embedding"] for one in found["data"]]
        counts = {"load_duration": loaded - began, "prompt_eval_count": found["usage"]["prompt_tokens"]}
        took = {"total_duration": time.monotonic_ns() - began}
        return _document({"model": body["model"], "embeddings": vectors, **_told(took | counts)})

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        """Pass a request to llama.cpp, and its answer back as it comes."""
        session = self._client()
        body = await request.read()
        kept = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        async with session.request(request.method, request.rel_url, data=body, headers=kept) as answer:
            response = web.StreamResponse(
                status=answer.status, headers={"Content-Type": answer.headers.get("Content-Type", "")}
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    async def _ask(self, path: str, document: Document) -> ClientResponse:
        return await self._client().post(path, json=document)

    def _client(self) -> ClientSession:
        if self._session is None:
            raise RuntimeError("not started")
        return self._session


async def _stream(
    request: web.Request,
    parts: AsyncIterator[tuple[str, Document]],
    line: Callable[[str], Document],
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": _LINES})
    await response.prepare(request)
    async for piece, end in parts:
        await response.write(_json({**line(piece), **end}) + b"\n")
    return response


def _end(event: Document, began: int, loaded: int) -> Document:
    """Give the fields of the last line from llama.cpp's last event."""
    timings = event["timings"]
    numbers = {
        "total_duration": time.monotonic_ns() - began,
        "load_duration": loaded - began,
        "prompt_eval_count": event["tokens_evaluated"],
        "prompt_eval_duration": round(timings["prompt_ms"] * 1_000_000),
        "eval_count": event["tokens_predicted"],
        "eval_duration": round(timings["predicted_ms"] * 1_000_000),
    }
    reason = "length" if event["stop_type"] == "limit" else "stop"
    return {"done": True, "done_reason": reason, **_told(numbers)}


def _told(numbers: Mapping[str, int]) -> dict[str, int]:
    """Leave out what is 0, as ``omitempty`` does."""
    return {name: number for name, number in numbers.items() if number}


async def _body(request: web.Request) -> Document:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text='{"error":"missing request body"}', content_type="application/json")
    return body


def _missing(body: Document) -> web.Response:
    return _document({"error": f"model '{body.get('model', '')}' not found"}, 404)


def _document(document: Document, status: int = 200) -> web.Response:
    return web.Response(
        body=_json(document), status=status, headers={"Content-Type": "application/json; charset=utf-8"}
    )


def _json(document: Document) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text.encode()


def _now() -> str:
    return datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")


async def _serve(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = OllamaServer(arguments.upstream, arguments.model, remote=arguments.remote, port=arguments.port)
    async with server:
        await stopped.wait()


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m joulegate.testing.ollama")
    parser.add_argument("--upstream", required=True, help="URL of a llama.cpp server")
    parser.add_argument("--model", default="gemma3:270m", help="name of the model")
    parser.add_argument("--remote", help="name of a model that is said to be elsewhere")
    parser.add_argument("--port", type=int, default=11434)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
