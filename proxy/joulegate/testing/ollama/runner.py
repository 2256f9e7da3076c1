"""The runner: a llama.cpp server, and what it reports in Ollama's counts and durations."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import ClientSession, web

from joulegate.testing.ollama.wire import Document, told

_OPTIONS = {"num_predict": "n_predict", "temperature": "temperature", "seed": "seed", "top_k": "top_k",
            "top_p": "top_p", "min_p": "min_p", "stop": "stop"}  # fmt: skip


class Runner:
    """Asks one llama.cpp server; the times at which a request began are of ``time.monotonic_ns``."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def template(self, messages: list[Document]) -> str:
        """Return the one prompt that the model's template makes of messages."""
        async with self._session.post("/apply-template", json={"messages": messages}) as answer:
            return str((await answer.json())["prompt"])

    async def complete(
        self, prompt: str, options: Mapping[str, Any], began: int
    ) -> AsyncIterator[tuple[str, Document]]:
        """Return pieces of text with the fields of their lines; the last has counts and durations in ns."""
        wanted = {ours: options[theirs] for theirs, ours in _OPTIONS.items() if theirs in options}
        loaded = time.monotonic_ns()
        body = {"prompt": prompt, "stream": True, **wanted}
        answer = await self._session.post("/completion", json=body)
        try:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    event = json.loads(line.removeprefix(b"data: "))
                    yield event["content"], _end(event, began, loaded) if event["stop"] else {"done": False}
        finally:
            answer.close()

    async def embed(self, texts: str | list[str], began: int) -> tuple[int, Document]:
        """Return the status and the fields of the answer: vectors, count and durations in ns, or an error."""
        loaded = time.monotonic_ns()
        async with self._session.post("/v1/embeddings", json={"input": texts}) as answer:
            found = await answer.json()
        if answer.status != 200:
            return answer.status, {"error": found["error"]["message"]}
        numbers = {
            "total_duration": time.monotonic_ns() - began,
            "load_duration": loaded - began,
            "prompt_eval_count": found["usage"]["prompt_tokens"],
        }
        return 200, {"embeddings": [one["embedding"] for one in found["data"]], **told(numbers)}

    async def relay(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back as it comes."""
        body = await request.read()
        kept = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        asked = self._session.request(request.method, request.rel_url, data=body, headers=kept)
        async with asked as answer:
            response = web.StreamResponse(
                status=answer.status, headers={"Content-Type": answer.headers.get("Content-Type", "")}
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response


def _end(event: Document, began: int, loaded: int) -> Document:
    """Return the fields of the last line from llama.cpp's last event."""
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
    return {"done": True, "done_reason": reason, **told(numbers)}
