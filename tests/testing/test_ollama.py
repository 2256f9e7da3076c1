"""The stand-in answers as Ollama does, to the byte where that matters."""

import json
from typing import Any

import aiohttp
import pytest

from joulegate.testing.ollama import OllamaServer
from joulegate.testing.upstream import Peer, ScriptedUpstream

TIMINGS = {"prompt_ms": 12.5, "predicted_ms": 0.0}
EVENTS = [
    {"content": "<b>&", "stop": False},
    {
        "content": "", "stop": True, "stop_type": "limit", "timings": TIMINGS,
        "tokens_evaluated": 5, "tokens_predicted": 0,
    },
]  # fmt: skip
EMBEDDED = {"data": [{"embedding": [0.5]}, {"embedding": [0.25]}], "usage": {"prompt_tokens": 4}}


async def llama(peer: Peer) -> None:
    """Answer as llama.cpp does to a template and to a prompt."""
    while request := await peer.request():
        if request.target == b"/apply-template":
            await peer.answer(b'{"prompt":"p"}', fields=[b"Content-Type: application/json"])
        elif request.target == b"/v1/embeddings":
            found = json.loads(request.body) == {"input": ["a", "b"]}
            status = "200 OK" if found else "500 Internal Server Error"
            body = EMBEDDED if found else {"error": {"message": "too long"}}
            fields = [b"Content-Type: application/json"]
            await peer.answer(json.dumps(body).encode(), status=status, fields=fields)
        else:
            assert json.loads(request.body) == {"prompt": "p", "stream": True, "n_predict": 3}
            body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in EVENTS)
            await peer.answer(body, fields=[b"Content-Type: text/event-stream"])


async def ask(path: str, body: Any = None) -> tuple[int, str, bytes]:
    method = "GET" if body is None else "POST"
    async with (
        ScriptedUpstream(llama) as upstream,
        OllamaServer(upstream.url, "m", remote="far") as server,
        aiohttp.ClientSession(server.url) as client,
        client.request(method, path, json=body) as answer,
    ):
        return answer.status, answer.headers["Content-Type"], await answer.read()


async def test_a_stream_is_lines_in_go_s_spelling() -> None:
    """Without ``stream``; what is 0 is left out; angle brackets and ampersands are escaped."""
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "options": {"num_predict": 3}}
    status, media, answer = await ask("/api/chat", body)
    first, last, rest = answer.split(b"\n")
    assert (status, media, rest) == (200, "application/x-ndjson", b"")
    assert b'"message":{"role":"assistant","content":"\\u003cb\\u003e\\u0026"},"done":false}' in first
    told = json.loads(last)
    assert (told["done"], told["done_reason"], told["prompt_eval_count"]) == (True, "length", 5)
    assert told["prompt_eval_duration"] == 12_500_000
    assert told.keys().isdisjoint({"eval_count", "eval_duration"})


async def test_one_document_where_no_stream_is_wanted() -> None:
    """With the whole text; a model elsewhere says so."""
    body = {"model": "far", "prompt": "a", "stream": False, "options": {"num_predict": 3}}
    status, media, answer = await ask("/api/generate", body)
    told = json.loads(answer)
    assert (status, media) == (200, "application/json; charset=utf-8")
    assert (told["response"], told["done"], told["remote_model"]) == ("<b>&", True, "far")


async def test_vectors_and_what_the_runner_says_in_place_of_them() -> None:
    """One vector for each text, and the prompt's tokens; an error keeps its status."""
    status, _, answer = await ask("/api/embed", {"model": "m", "input": ["a", "b"]})
    told = json.loads(answer)
    assert (status, told["model"], told["embeddings"]) == (200, "m", [[0.5], [0.25]])
    assert told["prompt_eval_count"] == 4
    status, _, answer = await ask("/api/embed", {"model": "m", "input": "a"})
    assert (status, answer) == (500, b'{"error":"too long"}')


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/generate", {"model": "m"}, 200, b'"response":"","done":true,"done_reason":"load"'),
        ("/api/chat", {"model": "m", "keep_alive": 0}, 200, b'"done_reason":"unload"'),
        ("/api/chat", {"model": "x"}, 404, b'{"error":"model \'x\' not found"}'),
        ("/api/chat", [], 400, b'{"error":"missing request body"}'),
        ("/api/show", {"model": "m"}, 200, b'"capabilities":["completion"]'),
        ("/api/version", None, 200, b'{"version":"0.33.0"}'),
        ("/api/tags", None, 200, b'"remote_host":"https://ollama.com:443"'),
        ("/api/ps", None, 200, b'{"models":[]}'),
        ("/v1/models", None, 200, b'"owned_by":"library"'),
        ("/", None, 200, b"Ollama is running"),
    ],
)
async def test_what_needs_no_model(path: str, body: Any, status: int, said: bytes) -> None:
    """Loading, unloading, refusals and looks at the server are documents, whatever ``stream`` says."""
    got, _, answer = await ask(path, body)
    assert got == status
    assert said in answer
