"""Ollama's routes and what each of them answers."""

import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from joulegate.testing.ollama import wire
from joulegate.testing.ollama.runner import Runner
from joulegate.testing.ollama.wire import Document

VERSION = "0.33.0"
"""Of the Ollama whose answers these are."""
REMOTE = "https://ollama.com:443"
_DETAILS = {"parent_model": "", "format": "gguf", "family": "gemma3", "families": ["gemma3"],
            "parameter_size": "268.10M", "quantization_level": "Q4_K_M"}  # fmt: skip
_DIGEST = "0" * 64

Part = Callable[[str], Document]
"""Gives the fields of a line that hold a piece of text."""


class Routes:
    """Answers for one model, and for one that is said to be elsewhere."""

    def __init__(self, runner: Runner, model: str, *, remote: str | None = None) -> None:
        self._runner = runner
        self._model = model
        self._remote = remote
        self._loaded = False

    def application(self) -> web.Application:
        """Return the application with all routes."""
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
                web.route("*", "/v1/{rest:.*}", self._runner.relay),
            ]
        )
        return application

    # --- control -------------------------------------------------------------------------------------

    async def _root(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="Ollama is running")

    async def _version(self, request: web.Request) -> web.Response:
        del request
        return wire.answer({"version": VERSION})

    async def _tags(self, request: web.Request) -> web.Response:
        del request
        return wire.answer({"models": [self._listed(name) for name in self._names()]})

    async def _models(self, request: web.Request) -> web.Response:
        del request
        found = [
            {"id": name, "object": "model", "created": 1_795_460_399, "owned_by": "library"}
            for name in self._names()
        ]
        return wire.answer({"object": "list", "data": found})

    async def _running(self, request: web.Request) -> web.Response:
        del request
        kept = {"expires_at": wire.now(), "size_vram": 0, "context_length": 2048}
        return wire.answer({"models": [self._listed(self._model) | kept] if self._loaded else []})

    async def _show(self, request: web.Request) -> web.Response:
        body = await wire.asked(request)
        if self._known(body) is None:
            return wire.missing(body)
        return wire.answer({"details": _DETAILS, "model_info": {}, "capabilities": ["completion"]})

    def _names(self) -> list[str]:
        return [self._model, *([self._remote] if self._remote else [])]

    def _listed(self, name: str) -> Document:
        size = {"modified_at": wire.now(), "size": 253_115_392, "digest": _DIGEST, "details": _DETAILS}
        return {"name": name, "model": name, **self._elsewhere(name), **size}

    def _elsewhere(self, name: str) -> Document:
        return {"remote_model": name, "remote_host": REMOTE} if name == self._remote else {}

    def _known(self, body: Document) -> str | None:
        """Return the model of a request, its default tag left out or not."""
        asked = str(body.get("model", ""))
        return next((name for name in self._names() if asked in (name, name.removesuffix(":latest"))), None)

    # --- inference -----------------------------------------------------------------------------------

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await wire.asked(request)
        prompt = body.get("prompt") or ""
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        messages = [*system, {"role": "user", "content": prompt}] if prompt else []
        return await self._answer(request, body, lambda text: {"response": text}, messages)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await wire.asked(request)

        def part(text: str) -> Document:
            return {"message": {"role": "assistant", "content": text}}

        body["raw"] = False  # only /api/generate knows it
        return await self._answer(request, body, part, body.get("messages") or [])

    async def _answer(
        self, request: web.Request, body: Document, part: Part, messages: list[Document]
    ) -> web.StreamResponse:
        began = time.monotonic_ns()
        model = self._known(body)
        if model is None:
            return wire.missing(body)
        if not messages:
            return self._kept(body, part)
        prompt = messages[-1]["content"] if body.get("raw") else await self._runner.template(messages)
        self._loaded = True
        pieces = self._runner.complete(prompt, body.get("options") or {}, began)
        head = {"model": body["model"], **self._elsewhere(model)}
        if body.get("stream", True):
            return await wire.stream(request, _lines(head, part, pieces))
        text, last = "", {}
        async for piece, end in pieces:
            text, last = text + piece, end
        return wire.answer(_line(head, part(text), last))

    def _kept(self, body: Document, part: Part) -> web.Response:
        """Load the model, or let it go: what a request without a prompt is for."""
        self._loaded = body.get("keep_alive") != 0
        end = {"done": True, "done_reason": "load" if self._loaded else "unload"}
        return wire.answer(_line({"model": body["model"]}, part(""), end))

    async def _embed(self, request: web.Request) -> web.Response:
        began = time.monotonic_ns()
        body = await wire.asked(request)
        if self._known(body) is None:
            return wire.missing(body)
        status, found = await self._runner.embed(body.get("input", ""), began)
        return wire.answer({"model": body["model"], **found} if status == 200 else found, status)


async def _lines(
    head: Document, part: Part, pieces: AsyncIterator[tuple[str, Document]]
) -> AsyncIterator[Document]:
    async for piece, end in pieces:
        yield _line(head, part(piece), end)


def _line(head: Document, part: Document, end: Document) -> Document:
    return {**head, "created_at": wire.now(), **part, **end}
