"""A server that speaks as Triton does, on a processor: for tests without a GPU.

    python -m joulegate.testing.triton --port 8000

Its wire is that of docs/protocol of https://github.com/triton-inference-server/server: ``infer`` with JSON or
binary tensors, ``generate`` and ``generate_stream``, health. Its models do real arithmetic: ``simple`` adds
and subtracts as Triton's own example does, ``dense`` is a layer of random weights, ``words`` writes a text by
a chain of Markov. It goes on when its client has left.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from aiohttp import web

Tensor = npt.NDArray[Any]
Model = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
_HEAD = "Inference-Header-Content-Length"
_TYPES: dict[str, type[np.generic]] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16,
    "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_TEXT = ("the", "cat", "sat", "on", "the", "mat", "and", "the", "dog", "sat", "on", "the", "cat")
_WIDTH = 16


class Refused(Exception):
    """The request is answered with an error."""


def simple(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return sum and difference."""
    one, two = inputs["INPUT0"], inputs["INPUT1"]
    return {"OUTPUT0": one + two, "OUTPUT1": one - two}


def dense(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return four numbers for each row of sixteen."""
    weights = np.random.default_rng(0).standard_normal((_WIDTH, 4)).astype(np.float32)
    return {"OUTPUT": np.tanh(inputs["INPUT"] @ weights)}


def words(prompt: str, count: int) -> list[str]:
    """Go on with a text, word by word, as the words of a known text follow one another."""
    dice = np.random.default_rng(len(prompt))
    word, written = (prompt.split() or ["the"])[-1], []
    for _ in range(count):
        after = [next_ for this, next_ in pairwise(_TEXT) if this == word] or _TEXT
        word = after[int(dice.integers(len(after)))]
        written.append(f" {word}")
    return written


class Server:
    """One server."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {"simple": simple, "dense": dense}
        self.finished = 0
        """Inferences that were worked on to their end."""

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=1 << 30)
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            app.add_routes([
                web.post(f"{prefix}/infer", self.infer),
                web.post(f"{prefix}/generate", self.generate),
                web.post(f"{prefix}/generate_stream", self.generate_stream),
                web.get(f"{prefix}/ready", _nothing),
            ])  # fmt: skip
        app.add_routes([web.get("/v2/health/live", _nothing), web.get("/v2/health/ready", _nothing)])
        app.add_routes([web.get("/v2", _metadata)])
        return app

    async def infer(self, request: web.Request) -> web.Response:
        """Answer tensors with tensors, each as JSON or as bytes as the request says."""
        try:
            body = await request.read()
            size = int(request.headers.get(_HEAD, len(body)))
            head: dict[str, Any] = json.loads(body[:size])
            name = request.match_info["model"]
            model = self._model(name)
            outputs = await asyncio.to_thread(model, _tensors(head, body[size:]))
        except (Refused, ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self.finished += 1
        return _answer(name, head, outputs)

    def _model(self, name: str) -> Model:
        if name not in self.models:
            raise Refused(f"Request for unknown model: '{name}' is not found")
        return self.models[name]

    async def generate(self, request: web.Request) -> web.Response:
        """Answer a text with a whole text."""
        name, written, counted = await self._write(request)
        told = _part(name, "".join(written), len(written) if counted else None)
        return web.json_response(told)

    async def generate_stream(self, request: web.Request) -> web.StreamResponse:
        """Answer a text with events of a word each; nothing follows the last one."""
        name, written, counted = await self._write(request)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await answer.prepare(request)
        async for word in _slowly(written):
            event = _part(name, word, 1 if counted else None)
            await answer.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        return answer

    async def _write(self, request: web.Request) -> tuple[str, list[str], bool]:
        wish = await request.json()
        parameters = wish.get("parameters", {})
        count = int(wish.get("max_tokens", parameters.get("max_tokens", 16)))
        written = await asyncio.to_thread(words, str(wish["text_input"]), count)
        self.finished += 1
        return request.match_info["model"], written, bool(wish.get("return_num_output_tokens"))


def _tensors(head: Mapping[str, Any], rest: bytes) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    at = 0
    for described in head["inputs"]:
        kind = _TYPES[described["datatype"]]
        size = described.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[described["name"]] = np.array(described["data"], kind).reshape(described["shape"])
        else:
            found[described["name"]] = np.frombuffer(rest[at : at + size], kind).reshape(described["shape"])
            at += size
    return found


def _answer(name: str, head: Mapping[str, Any], outputs: Mapping[str, Tensor]) -> web.Response:
    wanted = {one["name"]: one.get("parameters", {}) for one in head.get("outputs", [])}
    usual = bool(head.get("parameters", {}).get("binary_data_output"))
    described, raw = [], b""
    for output, tensor in outputs.items():
        if wanted and output not in wanted:
            continue
        told: dict[str, Any] = {"name": output, "datatype": _NAMES[tensor.dtype], "shape": list(tensor.shape)}
        if wanted.get(output, {}).get("binary_data", usual):
            told["parameters"] = {"binary_data_size": tensor.nbytes}
            raw += tensor.tobytes()
        else:
            told["data"] = tensor.ravel().tolist()
        described.append(told)
    text = json.dumps({"model_name": name, "model_version": "1", "outputs": described}).encode()
    if not raw:
        return web.Response(body=text, content_type="application/json")
    headers = {_HEAD: str(len(text)), "Content-Type": "application/octet-stream"}
    return web.Response(body=text + raw, headers=headers)


def _part(name: str, text: str, tokens: int | None) -> dict[str, Any]:
    counted = {} if tokens is None else {"num_output_tokens": tokens}
    return {"model_name": name, "model_version": "1", "text_output": text, **counted}


async def _slowly(written: list[str]) -> AsyncIterator[str]:
    """Let others work between two words."""
    for word in written:
        await asyncio.sleep(0)
        yield word


async def _nothing(_: web.Request) -> web.Response:
    return web.Response()


async def _metadata(_: web.Request) -> web.Response:
    return web.json_response(
        {"name": "triton", "version": "2.60.0", "extensions": ["binary_tensor_data", "generate"]}
    )


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m joulegate.testing.triton")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    web.run_app(Server().application(), host=arguments.host, port=arguments.port, print=None)


if __name__ == "__main__":
    main()
