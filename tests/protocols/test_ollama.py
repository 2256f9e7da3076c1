"""Ollama's own routes."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from joulegate.model import Fact, FactSource, ServerTimings, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
LINES = b"application/x-ndjson"


def lines(*documents: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in documents)


@pytest.mark.parametrize(
    ("method", "path", "task", "work"),
    [
        ("POST", "/api/generate", Task.TEXT_GENERATION, WorkClass.INFERENCE),
        ("POST", "/api/chat", Task.CHAT, WorkClass.INFERENCE),
        ("POST", "/api/embed", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/api/embeddings", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/api/pull", Task.UNKNOWN, WorkClass.ADMIN),
        ("DELETE", "/api/delete", Task.UNKNOWN, WorkClass.ADMIN),
        ("HEAD", "/api/blobs/sha256:00", Task.UNKNOWN, WorkClass.ADMIN),
        ("GET", "/api/ps", Task.UNKNOWN, WorkClass.PROBE),
        ("HEAD", "/api/tags", Task.UNKNOWN, WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, task: Task, work: WorkClass) -> None:
    """Each route has its task and its class of work; failures are written as Ollama writes them."""
    route = plugin("ollama").matches(method, path)
    assert route
    assert (route.task, route.work, route.dialect) == (task, work, "ollama")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/generate"), ("POST", "/v1/chat/completions"), ("GET", "/api/jobs")]
)
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """Other servers have an ``/api`` too."""
    assert plugin("ollama").matches(method, path) is None


@pytest.mark.parametrize(
    ("path", "body", "work"),
    [
        ("/api/generate", {"model": "m"}, WorkClass.MODEL_LOAD),
        ("/api/generate", {"model": "m", "prompt": "", "keep_alive": 0}, WorkClass.MODEL_LOAD),
        ("/api/generate", {"model": "m", "prompt": "hi"}, None),
        ("/api/generate", {"model": "m", "prompt": "x" * 100_000}, None),
        ("/api/chat", {"model": "m"}, WorkClass.MODEL_LOAD),
        ("/api/chat", {"model": "m", "messages": []}, WorkClass.MODEL_LOAD),
        ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": ""}]}, None),
        ("/api/chat", {"model": "m", "messages": [{"content": "x" * 100_000}]}, None),
        ("/api/embed", {"model": "m", "input": ""}, None),
        ("/api/generate", {"model": "m:cloud"}, WorkClass.REMOTE),
    ],
)
def test_a_call_without_a_prompt_loads_the_model(
    exchange: Play, path: str, body: dict[str, Any], work: WorkClass | None
) -> None:
    """A prompt that is too long to be kept is a prompt; of a model elsewhere nothing is loaded here."""
    assert exchange(path, json.dumps(body).encode(), b"{}", protocol="ollama").asked().work is work


def test_a_body_that_was_not_read_says_nothing(exchange: Play) -> None:
    """Broken JSON, or an encoded body, is no call without a prompt."""
    assert exchange("/api/generate", b"\x28\xb5\x2f\xfd", b"{}", protocol="ollama").asked().work is None


@pytest.mark.parametrize(
    ("model", "elsewhere"),
    [
        ("gpt-oss:120b-cloud", True),
        ("gpt-oss:20b:cloud", True),
        ("qwen3:CLOUD", True),
        ("localhost:11434/library/foo:cloud", True),
        ("my-cloud-model", False),
        ("cloud", False),
        ("my-cloud", False),
        ("foo:bar-cloud/baz", False),
        ("foo:cloud:local", False),
        ("llama3.2", False),
    ],
)
def test_models_elsewhere_are_known_by_name(exchange: Play, model: str, elsewhere: bool) -> None:
    """As Ollama's own ``modelref_test.go`` has it."""
    body = json.dumps({"model": model, "prompt": "hi"}).encode()
    work = exchange("/api/generate", body, b"{}", protocol="ollama").asked().work
    assert (work is WorkClass.REMOTE) is elsewhere


def test_a_stream_is_what_comes_without_asking(exchange: Play) -> None:
    """Only ``"stream":false`` asks for one document."""
    assert exchange("/api/chat", b'{"model":"m"}', b"{}", protocol="ollama").asked().stream is True
    body = b'{"model":"m","stream":false}'
    assert exchange("/api/chat", body, b"{}", protocol="ollama").asked().stream is False


def test_a_stream_that_is_cut_off_has_no_counts(exchange: Play) -> None:
    """They stand in the last line only; what was sent is content all the same."""
    answer = lines({"model": "m", "response": "Hi", "done": False}) + b'{"model":"m","resp'
    observer = exchange(
        "/api/generate", b'{"prompt":"a"}', answer, protocol="ollama", media=LINES, complete=False
    )
    assert observer.facts() == TaskFacts()
    assert observer.model() == "m"


def test_words_that_look_like_the_end_are_none(exchange: Play) -> None:
    """A model may write ``"done":true``."""
    answer = lines(
        {"model": "m", "response": "a", "done": False},
        {"model": "m", "response": '"done":true,"eval_count":9', "done": False},
        {"model": "m", "response": "", "done": True, "eval_count": 3, "eval_duration": -5},
    )
    observer = exchange("/api/generate", b'{"prompt":"a"}', answer, protocol="ollama", media=LINES)
    assert observer.facts() == TaskFacts(completion_tokens=Fact(3))
    assert observer.timings() == ServerTimings()


def test_old_embeddings_count_nothing(exchange: Play) -> None:
    """What was read is not told; that nothing was written is sure."""
    observer = exchange("/api/embeddings", b'{"prompt":"a"}', b'{"embedding":[0.1]}', protocol="ollama")
    assert observer.facts() == TaskFacts(completion_tokens=Fact(0, FactSource.DERIVED))
