"""Text Generation Inference's own routes."""

import json
from collections.abc import Callable

import pytest

from joulegate.model import Fact, FactSource, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
STREAM = b"text/event-stream"


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("POST", "/", WorkClass.INFERENCE),
        ("POST", "/generate", WorkClass.INFERENCE),
        ("POST", "/generate_stream", WorkClass.INFERENCE),
        ("POST", "/vertex", WorkClass.INFERENCE),
        ("POST", "/chat_tokenize", WorkClass.ADMIN),
        ("GET", "/info", WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, work: WorkClass) -> None:
    """Each has its class of work."""
    route = plugin("tgi").matches(method, path)
    assert route
    assert route.work == work


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/generate"), ("POST", "/v1/completions")]
)
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """``GET /`` is anyone's health check."""
    assert plugin("tgi").matches(method, path) is None


def test_a_stream_that_is_cut_off_is_counted(exchange: Play) -> None:
    """Each event before the last is one token."""
    event = b'data: {"index":1,"token":{"id":1,"text":"a"},"generated_text":null,"details":null}\n\n'
    observer = exchange(
        "/generate_stream", b'{"inputs":"a"}', event * 3, protocol="tgi", media=STREAM, complete=False
    )
    assert observer.facts() == TaskFacts(
        completion_tokens=Fact(3, FactSource.DERIVED), choices=Fact(1, FactSource.DERIVED)
    )


def test_long_details_are_read(exchange: Play) -> None:
    """Log-probabilities of each token make details long; all answers are found behind them."""
    tokens = [{"id": 1, "text": "a", "logprob": -0.5}] * 3_000
    others = [{"tokens": tokens, "generated_tokens": 3_000}, {"tokens": [], "generated_tokens": 7}]
    details = {"tokens": tokens, "generated_tokens": 3_000, "best_of_sequences": others}
    body = b'{"inputs":"a","parameters":{"best_of":3,"details":true}}'
    answer = json.dumps({"generated_text": "a", "details": details}).encode()
    facts = exchange("/generate", body, answer, protocol="tgi").facts()
    assert facts.completion_tokens == Fact(6_007, FactSource.DERIVED)
    assert facts.choices == Fact(3, FactSource.DERIVED)


def test_words_that_look_like_tokens_are_none(exchange: Play) -> None:
    """An error may quote a token."""
    error = {"error": 'no "token":{"details":{"generated_tokens":9}}', "error_type": "generation"}
    answer = b"data: " + json.dumps(error).encode() + b"\n\n"
    facts = exchange("/generate_stream", b"{}", answer, protocol="tgi", media=STREAM).facts()
    assert facts == TaskFacts()
