"""Text exchanges: usage wherever servers put it, content without decoding."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.model import Fact, FactSource, TaskFacts
from joulegate.ports import Observer
from joulegate.protocols.openai.text import Chat, Completion
from joulegate.units import Nanoseconds

Play = Callable[..., Observer]
STREAM = b"text/event-stream"
CHAT = "/v1/chat/completions"
ASK = b'{"model":"m","stream":true}'


def stream(*events: Any, end: str = "\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + (2 * end).encode() for event in events)


def usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 3, "completion_tokens": completion}


@pytest.mark.parametrize(
    "events",
    [
        [{"choices": [], "usage": usage(2)}],
        [{"usage": usage(2)}],
        [{"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage(2)}],
        [{"choices": [{"delta": {}}], "usage": usage(2)}, {"choices": [{"delta": {"content": "x"}}]}],
        [{"choices": [{"delta": {}}], "usage": None}, {"usage": usage(2)}, {"usage": None}],
        [{"choices": [{"delta": {}}], "usage": usage(n)} for n in (0, 1, 2)],
        [{"usage": usage(2)}, {"error": {"message": "late", "code": 500}}],
    ],
    ids=["usual", "no choices", "on finish", "in between", "null", "continuous", "error"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_usage_is_found_in_every_place(exchange: Play, events: list[Any], end: str) -> None:
    """With or without choices, on the last content event, in the middle, on each event: the last counts."""
    facts = exchange(CHAT, ASK, stream(*events, end=end), media=STREAM).facts()
    assert (facts.prompt_tokens, facts.completion_tokens) == (Fact(3), Fact(2))


def test_words_about_usage_are_no_usage(exchange: Play) -> None:
    """A model that writes ``"usage":{...}`` as text reports nothing."""
    text = '"usage":{"completion_tokens":99}'
    answer = stream({"choices": [{"delta": {"content": text}}]})
    assert exchange(CHAT, ASK, answer, media=STREAM).facts() == TaskFacts(choices=Fact(1, FactSource.DERIVED))


@given(
    text=st.text(max_size=30), key=st.sampled_from(["content", "reasoning_content", "reasoning", "refusal"])
)
def test_content_is_the_length_of_the_text_in_the_event(text: str, key: str) -> None:
    """It is counted as it stands in the JSON, without decoding the event."""
    for ascii_only in (True, False):
        event = json.dumps({"id": key, "choices": [{"delta": {key: text}}]}, ensure_ascii=ascii_only)
        written = json.dumps(text, ensure_ascii=ascii_only).encode(errors="surrogatepass")
        observer = Chat([])
        observer.response_head(200, [(b"content-type", STREAM)])
        body = b"data: " + event.encode(errors="surrogatepass") + b"\n\n"
        assert observer.response_body(Nanoseconds(0), body) == len(written) - 2


def test_role_finish_and_terminator_are_no_content(exchange: Play) -> None:
    """Only new text counts."""
    observer = Completion([])
    observer.response_head(200, [(b"content-type", STREAM)])
    for body in (
        b": keep-alive\n\n",
        b'data: {"choices":[{"text":"","finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ):
        assert observer.response_body(Nanoseconds(0), body) == 0


def test_choices_of_a_stream_are_those_asked_for(exchange: Play) -> None:
    """One where the request says nothing; unknown for a list of prompts."""
    answer = stream({"choices": [{"text": "x", "index": 0}]})
    path = "/v1/completions"
    assert exchange(path, b'{"prompt":"a","n":3}', answer, media=STREAM).facts().choices == Fact(
        3, FactSource.DERIVED
    )
    assert exchange(path, b'{"prompt":"a"}', answer, media=STREAM).facts().choices is None
    assert exchange(path, b'{"model":"m","prompt":["a","b"]}', answer, media=STREAM).facts().choices is None


def test_choices_of_a_whole_answer_are_counted(exchange: Play) -> None:
    """As many as there are."""
    answer = b'{"choices":[{},{},{}],"usage":{"completion_tokens":9}}'
    facts = exchange(CHAT, b'{"model":"m"}', answer).facts()
    assert (facts.choices, facts.completion_tokens) == (Fact(3, FactSource.DERIVED), Fact(9))


def test_llamacpp_ends_each_choice_with_its_own_account(exchange: Play) -> None:
    """Of several choices each has its usage and timings: what they wrote is added up, the prompt is not."""
    final = {"choices": [], "usage": usage(4), "timings": {"predicted_n": 4}}
    facts = exchange(CHAT, b'{"model":"m","n":2}', stream(final, final), media=STREAM).facts()
    assert (facts.prompt_tokens, facts.completion_tokens) == (Fact(3), Fact(8, FactSource.DERIVED))


def test_llamacpp_ends_each_prompt_with_its_own_account(exchange: Play) -> None:
    """Of several prompts with a choice each, prompts and cached tokens add up too."""
    finals = [
        {"choices": [], "usage": usage(4), "timings": {"predicted_n": 4, "prompt_n": 2, "cache_n": 1}}
        for _ in range(2)
    ]
    wish = b'{"prompt":["a","b"],"stream":true}'
    facts = exchange("/v1/completions", wish, stream(*finals), media=STREAM).facts()
    assert facts.prompt_tokens == Fact(6, FactSource.DERIVED)
    assert facts.cached_prompt_tokens == Fact(2, FactSource.DERIVED)
    assert facts.completion_tokens == Fact(8, FactSource.DERIVED)


def test_an_answer_of_many_choices_by_llamacpp_is_estimated(exchange: Play) -> None:
    """Its usage is the first choice's alone: the rest is an estimate, and says so."""
    answer = b'{"choices":[{},{}],"usage":{"completion_tokens":4},"timings":{"predicted_n":4}}'
    assert exchange(CHAT, ASK, answer).facts().completion_tokens == Fact(8, FactSource.ESTIMATED)
    summed = answer.replace(b'"predicted_n":4', b'"predicted_n":2')
    assert exchange(CHAT, ASK, summed).facts().completion_tokens == Fact(4)


@pytest.mark.parametrize(
    ("wish", "prompt"),
    [
        ({"prompt": ["a", "b"]}, None),
        ({"prompt": ["a", "b"], "n": 1}, None),
        ({"prompt": ["a"], "n": 2}, Fact(3)),
        ({"prompt": [5, 6, 7], "n": 2}, Fact(3)),
        ({"prompt": "a", "n": 2}, Fact(3)),
    ],
)
def test_the_tokens_of_several_prompts_by_llamacpp_are_not_known(
    exchange: Play, wish: dict[str, Any], prompt: Fact | None
) -> None:
    """Its usage is the first prompt's alone; several choices of one prompt share it."""
    timings = {"prompt_n": 3, "predicted_n": 4, "cache_n": 0}
    answer = {"choices": [{"text": "x"}, {"text": "y"}], "usage": usage(4), "timings": timings}
    observer = exchange("/v1/completions", json.dumps(wish).encode(), json.dumps(answer).encode())
    assert observer.facts().prompt_tokens == prompt
    assert observer.facts().completion_tokens == Fact(8, FactSource.ESTIMATED)


@pytest.mark.parametrize("padding", [0, 100_000])
def test_the_response_event_holds_the_usage(exchange: Play, padding: int) -> None:
    """``response.completed`` repeats the answer, however long it is: usage counts, its text does not."""
    done = {
        "type": "response.completed",
        "response": {
            "output": "x" * padding,
            "model": "m2",
            "usage": {"input_tokens": 3, "output_tokens": 2},
        },
    }
    observer = exchange("/v1/responses", ASK, stream(done), media=STREAM)
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(3), completion_tokens=Fact(2))
    assert observer.model() == "m2"
    assert observer.response_body(Nanoseconds(0), stream(done)) == 0
    assert observer.response_body(Nanoseconds(0), stream({"type": "x.delta", "delta": "abc"})) == 3


def test_a_line_of_ten_megabytes_is_survived(exchange: Play) -> None:
    """An event of that size is scanned, and the usage behind it is found."""
    answer = stream({"choices": [{"delta": {"content": "x" * 10_000_000}}]}, {"usage": usage(2)})
    assert exchange(CHAT, ASK, answer, media=STREAM).facts().completion_tokens == Fact(2)


def test_bounds_have_three_names(exchange: Play) -> None:
    """The newer name goes before the older."""
    for body, bound in (
        (b'{"max_tokens":5}', 5),
        (b'{"max_tokens":5,"max_completion_tokens":6}', 6),
        (b'{"max_output_tokens":7}', 7),
        (b'{"max_tokens":-1}', None),
        (b"{}", None),
    ):
        assert exchange(CHAT, body, b"{}").asked().max_tokens == bound


def test_a_rerank_total_is_the_prompt(exchange: Play) -> None:
    """Nothing is written there."""
    facts = exchange("/v1/rerank", b"{}", b'{"usage":{"total_tokens":9}}').facts()
    assert facts == TaskFacts(
        prompt_tokens=Fact(9, FactSource.DERIVED), completion_tokens=Fact(0, FactSource.DERIVED)
    )
