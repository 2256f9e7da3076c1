"""Scripted inference servers, their clients and the power that their work draws, for the board's picture.

The answers are made of filler; the routes, the streams and the token counts are those of an OpenAI-compatible
server. GPU 0 works on text, GPU 1 on images; the watts go to joulegate's made-up GPUs by their control file.
"""

import asyncio
import json
import math
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from aiohttp import web

IDLE_WATTS = (92.0, 88.0)
CHAT_WATTS = 430.0
IMAGE_WATTS = 540.0
TOKEN_SECONDS = {"example-8b": 0.02, "example-70b": 0.07}
WEIGHT = {"example-8b": 1.0, "example-70b": 2.6, "example-embed": 0.8}
IMAGE_SECONDS = 3.2


class Gpus:
    """Work under way on both GPUs, and the power that it draws."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._text = 0.0
        self.painter = asyncio.Lock()
        self._random = random.Random(3)  # noqa: S311 (the same noise every time)

    async def work(self, weight: float, seconds: float) -> None:
        """Keep GPU 0 at work; a batch saturates it."""
        self._text += weight
        try:
            await asyncio.sleep(seconds)
        finally:
            self._text -= weight

    async def drive(self) -> None:
        """Write the watts of now, ten times a second."""
        while True:
            text = CHAT_WATTS * (1 - math.exp(-self._text / 5)) if self._text > 0.01 else 0
            image = IMAGE_WATTS if self.painter.locked() else 0
            noise = [self._random.gauss(1, 0.01) for _ in range(2)]
            watts = [(IDLE_WATTS[0] + text) * noise[0], (IDLE_WATTS[1] + image) * noise[1]]
            fresh = self._control.with_suffix(".new")
            fresh.write_text(json.dumps({"watts": {str(n): round(w, 1) for n, w in enumerate(watts)}}))
            fresh.replace(self._control)
            await asyncio.sleep(0.1)


class Servers:
    """The routes of the scripted servers."""

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    def app(self) -> web.Application:
        """Return the application; the path below which it is mounted does not matter."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/chat/completions", self.chat),
                web.post("/v1/embeddings", self.embed),
                web.post("/v1/images/generations", self.paint),
            ]
        )
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        wish = await request.json()
        model, count = wish["model"], wish["max_tokens"]
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await self._gpus.work(2 * WEIGHT[model], 0.1)
        for _ in range(0, count, 5):
            await self._gpus.work(WEIGHT[model], 5 * TOKEN_SECONDS[model])
            for _ in range(5):
                await answer.write(event(model, choices=[{"index": 0, "delta": {"content": "joule "}}]))
        await answer.write(event(model, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        prompt = len(wish["messages"][0]["content"]) // 4
        usage = {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count}
        await answer.write(event(model, choices=[], usage=usage))
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async def embed(self, request: web.Request) -> web.Response:
        wish = await request.json()
        await self._gpus.work(WEIGHT[wish["model"]], 0.05)
        tokens = len(wish["input"]) // 4
        vector = {"object": "embedding", "index": 0, "embedding": [0.1] * 384}
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return web.json_response({"object": "list", "data": [vector], "model": wish["model"], "usage": usage})

    async def paint(self, request: web.Request) -> web.Response:
        await request.read()
        async with self._gpus.painter:
            await asyncio.sleep(IMAGE_SECONDS)
        return web.json_response({"created": 0, "data": [{"b64_json": "aGVsbG8=" * 4000}]})


def event(model: str, **members: object) -> bytes:
    """Return one event of a stream."""
    chunk = {"id": "x", "object": "chat.completion.chunk", "model": model} | members
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class Clients:
    """Clients that come and go: chats in waves, summaries at times, images now and then."""

    def __init__(self, session: aiohttp.ClientSession, gate: str) -> None:
        self._session = session
        self._gate = gate
        self._random = random.Random(11)  # noqa: S311 (the same traffic every time)
        self._end = 0.0

    async def run(self, seconds: float, quiet: float) -> None:
        """Begin requests for so many seconds, after ``quiet`` ones without any, and wait for the answers."""
        await asyncio.sleep(quiet)
        self._end = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            for n in range(6):
                group.create_task(self._repeat(lambda: self._chat("example-8b", 300), 4 + n))
            group.create_task(self._repeat(lambda: self._chat("example-70b", 900), 9))
            for _ in range(2):
                group.create_task(self._repeat(self._summary, 8))
            group.create_task(self._repeat(self._embedding, 0.7))
            group.create_task(self._repeat(self._image, 7))
            group.create_task(self._repeat(self._image, 11))

    async def _repeat(self, send: Callable[[], Awaitable[None]], pause: float) -> None:
        while asyncio.get_running_loop().time() < self._end:
            await asyncio.sleep(self._random.expovariate(1 / pause))
            await send()

    async def _chat(self, model: str, prompt: int) -> None:
        tokens = self._random.choice((60, 120, 200))
        await self._post("/v1/chat/completions", self._wish(model, prompt, tokens))

    async def _summary(self) -> None:
        await self._post("/summaries/v1/chat/completions", self._wish("example-8b", 12_000, 80))

    async def _embedding(self) -> None:
        await self._post("/v1/embeddings", {"model": "example-embed", "input": "word " * 200})

    async def _image(self) -> None:
        wish = {"model": "example-diffusion", "prompt": "a fjord", "size": "1024x1024", "n": 1}
        await self._post("/images/v1/images/generations", wish)

    def _wish(self, model: str, prompt: int, tokens: int) -> dict[str, object]:
        message = {"role": "user", "content": "x" * prompt}
        return {
            "model": model,
            "messages": [message],
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def _post(self, path: str, wish: dict[str, object]) -> None:
        async with self._session.post(self._gate + path, json=wish) as answer:
            await answer.read()
            answer.raise_for_status()
