"""Anthropic's Messages."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.model import Fact, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
STREAM = b"text/event-stream"


def events(*documents: dict[str, Any]) -> bytes:
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in documents)


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("POST", "/v1/messages", WorkClass.INFERENCE),
        ("POST", "/anthropic/v1/messages", WorkClass.INFERENCE),
        ("POST", "/v1/messages/", WorkClass.INFERENCE),
        ("POST", "/v1/messages/count_tokens", WorkClass.ADMIN),
        ("POST", "/v1/messages/render", WorkClass.ADMIN),
        ("POST", "/v1/messages/batches", WorkClass.ADMIN),
        ("GET", "/v1/messages/batches/msgbatch_1/results", WorkClass.ADMIN),
    ],
)
def test_routes(plugin: Load, method: str, path: str, work: WorkClass) -> None:
    """Failures are written in the dialect of the caller; counting needs no model."""
    route = plugin("anthropic").matches(method, path)
    assert route
    assert (route.work, route.dialect) == (work, "anthropic")
    assert route.task == (Task.CHAT if work is WorkClass.INFERENCE else Task.UNKNOWN)


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/messages"), ("POST", "/v1/messages/other")])
def test_other_paths_are_no_messages(plugin: Load, method: str, path: str) -> None:
    """What is not Anthropic's is left to others."""
    assert plugin("anthropic").matches(method, path) is None


@given(
    start=st.dictionaries(st.sampled_from(["input_tokens", "cache_read_input_tokens"]), st.integers(0, 99)),
    end=st.dictionaries(
        st.sampled_from(["input_tokens", "cache_read_input_tokens", "output_tokens"]), st.integers(0, 99)
    ),
)
def test_cumulative_counts_are_never_summed(
    exchange: Play, start: dict[str, int], end: dict[str, int]
) -> None:
    """Whatever the start and the end say, the larger of the two counts, and nothing is invented."""
    answer = events(
        {"type": "message_start", "message": {"usage": {**start, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {}, "usage": end},
    )
    told = exchange("/v1/messages", b"{}", answer, protocol="anthropic", media=STREAM).facts()
    largest = {name: max(start.get(name, 0), end.get(name, 0)) for name in {*start, *end}}
    assert told.completion_tokens == Fact(max(1, end.get("output_tokens", 0)))
    if "input_tokens" in largest:
        total = largest["input_tokens"] + largest.get("cache_read_input_tokens", 0)
        assert told.prompt_tokens == Fact(total)
    else:
        assert told.prompt_tokens is None


def test_a_long_event_is_read(exchange: Play) -> None:
    """Usage beside a text of a hundred thousand bytes is found."""
    answer = events(
        {
            "type": "message_start",
            "message": {"content": [{"text": "x" * 100_000}], "model": "m", "usage": {"input_tokens": 4}},
        }
    )
    observer = exchange("/v1/messages", b"{}", answer, protocol="anthropic", media=STREAM)
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(4))
    assert observer.model() == "m"


def test_words_about_usage_are_no_usage(exchange: Play) -> None:
    """A model may write of usage as it likes."""
    text = '"usage": {"input_tokens": 999}'
    answer = events({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})
    observer = exchange("/v1/messages", b"{}", answer, protocol="anthropic", media=STREAM)
    assert observer.facts() == TaskFacts()
