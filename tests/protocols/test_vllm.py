"""vLLM's own routes."""

from collections.abc import Callable

import pytest

from joulegate.model import Fact, FactSource, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
STREAM = b"text/event-stream"


@pytest.mark.parametrize(
    ("method", "path", "task", "work"),
    [
        ("POST", "/score", Task.RERANK, WorkClass.INFERENCE),
        ("POST", "/pooling", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/classify", Task.TEXT_CLASSIFICATION, WorkClass.INFERENCE),
        ("POST", "/v2/embed", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/cohere/v2/chat", Task.CHAT, WorkClass.INFERENCE),
        ("POST", "/inference/v1/generate", Task.TEXT_GENERATION, WorkClass.INFERENCE),
        ("POST", "/abort_requests", Task.UNKNOWN, WorkClass.ADMIN),
        ("POST", "/update_weights", Task.UNKNOWN, WorkClass.MODEL_LOAD),
        ("POST", "/start_draft_weight_update", Task.UNKNOWN, WorkClass.MODEL_LOAD),
        ("GET", "/load", Task.UNKNOWN, WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, task: Task, work: WorkClass) -> None:
    """Each has its task and its class of work."""
    route = plugin("vllm").matches(method, path)
    assert route
    assert (route.task, route.work) == (task, work)


@pytest.mark.parametrize(("method", "path"), [("GET", "/score"), ("POST", "/load"), ("POST", "/v1/score")])
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """What stands under ``/v1`` is the OpenAI family's."""
    assert plugin("vllm").matches(method, path) is None


def test_token_ids_are_counted_where_usage_is_not_asked_for(exchange: Play) -> None:
    """A list of none is none; a usage that comes counts more."""
    parts = [
        b'data: {"choices":[{"index":0,"token_ids":%b}]}\n\n' % ids for ids in (b"[]", b"[ 1, 2 ]", b"[3]")
    ]
    body = b'{"token_ids":[5,6],"stream":true}'
    play = (b"".join(parts), b"".join([*parts, b'data: {"choices":[],"usage":{"completion_tokens":4}}\n\n']))
    for answer, written in zip(play, (Fact(3, FactSource.DERIVED), Fact(4)), strict=True):
        observer = exchange("/inference/v1/generate", body, answer, protocol="vllm", media=STREAM)
        assert observer.facts() == TaskFacts(
            prompt_tokens=Fact(2, FactSource.DERIVED), completion_tokens=written
        )


def test_a_refusal_has_no_facts(exchange: Play) -> None:
    """What was not done is not counted."""
    body = b'{"token_ids":[5,6]}'
    assert exchange("/inference/v1/generate", body, b"{}", protocol="vllm", status=400).facts() == TaskFacts()


def test_coheres_counts_are_whole_numbers(exchange: Play) -> None:
    """They are written as floats; a fraction of a token is no count."""
    answer = b'{"usage":{"tokens":{"input_tokens":7.0,"output_tokens":1.5},"cached_tokens":-1.0}}'
    observer = exchange("/cohere/v2/chat", b"{}", answer, protocol="vllm")
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(7))
