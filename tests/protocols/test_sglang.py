"""SGLang's own routes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.model import Fact, FactSource, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer
from joulegate.units import Nanoseconds

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
STREAM = b"text/event-stream"
COUNTED = FactSource.DERIVED


def events(*documents: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(one, separators=(",", ":")).encode() for one in documents)


def answer(text: str, written: int, **more: Any) -> dict[str, Any]:
    return {"text": text, "meta_info": {"prompt_tokens": 4, "completion_tokens": written, **more}}


@pytest.mark.parametrize(
    ("method", "path", "task", "work"),
    [
        ("POST", "/generate", Task.TEXT_GENERATION, WorkClass.INFERENCE),
        ("PUT", "/generate", Task.TEXT_GENERATION, WorkClass.INFERENCE),
        ("POST", "/vertex_generate", Task.TEXT_GENERATION, WorkClass.INFERENCE),
        ("PUT", "/encode", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/classify", Task.TEXT_CLASSIFICATION, WorkClass.INFERENCE),
        ("GET", "/health_generate", Task.UNKNOWN, WorkClass.SELF_TEST),
        ("GET", "/get_model_info", Task.UNKNOWN, WorkClass.PROBE),
        ("POST", "/abort_request", Task.UNKNOWN, WorkClass.ADMIN),
        ("POST", "/load_lora_adapter_from_tensors", Task.UNKNOWN, WorkClass.MODEL_LOAD),
        ("POST", "/update_weights_from_disk", Task.UNKNOWN, WorkClass.MODEL_LOAD),
        ("GET", "/release_memory_occupation", Task.UNKNOWN, WorkClass.MODEL_LOAD),
    ],
)
def test_routes(plugin: Load, method: str, path: str, task: Task, work: WorkClass) -> None:
    """A health check for which the model runs is work, and nobody's inference."""
    route = plugin("sglang").matches(method, path)
    assert route
    assert (route.task, route.work) == (task, work)


@pytest.mark.parametrize(("method", "path"), [("GET", "/generate"), ("POST", "/v1/classify")])
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """What stands under ``/v1`` is the OpenAI family's."""
    assert plugin("sglang").matches(method, path) is None


@given(st.lists(st.text(max_size=8), max_size=8))
def test_a_repeated_text_is_counted_once(exchange: Play, parts: list[str]) -> None:
    """Content is what is new in each event, to the byte as it stands in the JSON."""
    texts = ["".join(parts[: size + 1]) for size in range(len(parts))]
    observer = exchange("/generate", b'{"text":"a"}', b"", protocol="sglang", media=STREAM)
    content = sum(
        observer.response_body(Nanoseconds(0), events(answer(text, at))) for at, text in enumerate(texts, 1)
    )
    assert content == len(json.dumps(texts[-1])) - 2 if texts else content == 0


def test_a_stream_of_new_text_is_counted_whole(exchange: Play) -> None:
    """A server may be told to send only what is new."""
    observer = exchange("/generate", b'{"text":"a"}', b"", protocol="sglang", media=STREAM)
    parts = ["one", " two", " two", " one"]
    got = [observer.response_body(Nanoseconds(0), events(answer(part, 1))) for part in parts]
    assert got == [3, 4, 4, 4]


def test_a_stream_that_is_cut_off_is_counted(exchange: Play) -> None:
    """Every event counts the tokens so far."""
    cut = events(answer("a", 1), answer("ab", 2)) + b'data: {"text":"abc","meta_info":{"prompt'
    observer = exchange("/generate", b'{"text":"a"}', cut, protocol="sglang", media=STREAM, complete=False)
    assert observer.facts() == TaskFacts(
        prompt_tokens=Fact(4), completion_tokens=Fact(2), choices=Fact(1, COUNTED)
    )


@pytest.mark.parametrize(
    ("body", "answers", "prompt"),
    [
        ({"input_ids": [1, 2, 3]}, None, Fact(4)),
        ({"input_ids": [[1, 2], [3]]}, 2, Fact(8, COUNTED)),
        ({"input_ids": [[1] * 20_000, [3]]}, 2, Fact(8, COUNTED)),
        ({"text": ["a"]}, 1, Fact(4, COUNTED)),
        ({"text": ["a", "b"], "sampling_params": {"n": 2}}, 4, Fact(8, COUNTED)),
        ({"text": "a", "sampling_params": {"n": 3}}, 3, Fact(4, COUNTED)),
    ],
)
def test_a_prompt_counts_once_however_many_answers(
    exchange: Play, body: dict[str, Any], answers: int | None, prompt: Fact
) -> None:
    """A list of prompts, or of input ids, or ``n``, give a list of answers."""
    one = answer("x", 5)
    got = [one] * answers if answers else one
    observer = exchange("/generate", json.dumps(body).encode(), json.dumps(got).encode(), protocol="sglang")
    count = answers or 1
    written = Fact(5 * count, COUNTED) if answers else Fact(5)
    assert observer.facts() == TaskFacts(
        prompt_tokens=prompt, completion_tokens=written, choices=Fact(count, COUNTED)
    )


def test_more_answers_than_are_kept_are_unknown(exchange: Play) -> None:
    """A part of the counts is not the count."""
    body = json.dumps({"text": ["a"] * 100}).encode()
    observer = exchange("/generate", body, json.dumps([answer("x", 1)] * 100).encode(), protocol="sglang")
    assert observer.facts() == TaskFacts()
    stream = events({**answer("x", 1), "index": 99})
    assert exchange("/generate", body, stream, protocol="sglang", media=STREAM).facts() == TaskFacts()


def test_a_long_event_is_read(exchange: Play) -> None:
    """The text so far, with log-probabilities of each token, gets long."""
    long = events(answer("a", 1), answer("a" * 100_000, 9))
    observer = exchange("/generate", b'{"text":"a"}', long, protocol="sglang", media=STREAM)
    assert observer.facts().completion_tokens == Fact(9)
