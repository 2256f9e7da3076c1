"""llama.cpp's native routes."""

from collections.abc import Callable

import pytest

from joulegate.model import Fact, FactSource, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
STREAM = b"text/event-stream"


@pytest.mark.parametrize(
    ("method", "path", "name", "task", "work"),
    [
        ("POST", "/completion", "native.completion", Task.TEXT_GENERATION, WorkClass.INFERENCE),
        ("POST", "/completions", "native.completion", Task.TEXT_GENERATION, WorkClass.INFERENCE),
        ("POST", "/infill", "native.infill", Task.TEXT_GENERATION, WorkClass.INFERENCE),
        ("POST", "/embedding", "native.embeddings", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/embeddings", "native.embeddings", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/tokenize", "native.admin", Task.UNKNOWN, WorkClass.ADMIN),
        ("POST", "/apply-template", "native.admin", Task.UNKNOWN, WorkClass.ADMIN),
        ("POST", "/slots/0", "native.admin", Task.UNKNOWN, WorkClass.ADMIN),
        ("POST", "/models/load", "native.load", Task.UNKNOWN, WorkClass.MODEL_LOAD),
        ("GET", "/health", "native.probe", Task.UNKNOWN, WorkClass.PROBE),
        ("GET", "/metrics", "native.probe", Task.UNKNOWN, WorkClass.PROBE),
        ("GET", "/props", "native.probe", Task.UNKNOWN, WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, name: str, task: Task, work: WorkClass) -> None:
    """Each native route has its task and its class of work."""
    route = plugin("llamacpp").matches(method, path)
    assert route
    assert (route.name, route.task, route.work) == (name, task, work)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/completions"), ("GET", "/completion"), ("POST", "/nothing")]
)
def test_other_routes_are_not_native(plugin: Load, method: str, path: str) -> None:
    """What is not llama.cpp's own is left to others."""
    assert plugin("llamacpp").matches(method, path) is None


def test_a_stream_that_is_cut_off_is_counted(exchange: Play) -> None:
    """Every event counts the tokens so far."""
    answer = b'data: {"content":"a","stop":false,"tokens_predicted":7,"tokens_evaluated":9}\n\ndata: {"con'
    observer = exchange("/completion", b"{}", answer, protocol="llamacpp", media=STREAM, complete=False)
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(9), completion_tokens=Fact(7))


def test_the_openai_form_is_read_on_bare_paths(exchange: Play) -> None:
    """Other servers speak OpenAI's language on ``/completions``."""
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":2}}\n\n'
    answer = b'data: {"choices":[{"text":"ab"}]}\n\n' + usage + b"data: [DONE]\n\n"
    observer = exchange("/completions", b'{"model":"m"}', answer, protocol="llamacpp", media=STREAM)
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(2))
    assert observer.asked().model == "m"


def test_no_bound_is_no_bound(exchange: Play) -> None:
    """``n_predict`` of -1 means as long as it takes."""
    assert exchange("/completion", b'{"n_predict":-1}', b"{}", protocol="llamacpp").asked().max_tokens is None
    assert exchange("/completion", b'{"n_predict":8}', b"{}", protocol="llamacpp").asked().max_tokens == 8


def test_a_long_last_event_is_read(exchange: Play) -> None:
    """The last event repeats the prompt, however long it is."""
    last = (
        b'data: {"content":"","prompt":"'
        + b"x" * 100_000
        + b'","tokens_predicted":3,"tokens_evaluated":4}\n\n'
    )
    observer = exchange("/completion", b"{}", last, protocol="llamacpp", media=STREAM)
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(4), completion_tokens=Fact(3))


FIRST = b'{"index":0,"model":"g","tokens_evaluated":8,"tokens_predicted":5,"timings":{"cache_n":3}}'
SECOND = b'{"index":1,"model":"g","tokens_evaluated":4,"tokens_predicted":5,"timings":{"cache_n":0}}'
JSON = b"application/json"


def test_a_list_of_prompts_has_a_list_of_results(exchange: Play) -> None:
    """Its counts are the sums, and the model is that of the first."""
    answer = b"[" + FIRST + b"," + SECOND + b"]"
    observer = exchange("/completion", b'{"prompt":["a","b"]}', answer, protocol="llamacpp", media=JSON)
    assert observer.facts() == TaskFacts(
        prompt_tokens=Fact(12),
        completion_tokens=Fact(10),
        cached_prompt_tokens=Fact(3),
        choices=Fact(2, FactSource.DERIVED),
    )
    assert observer.model() == "g"


def test_a_list_of_tokens_is_one_prompt(exchange: Play) -> None:
    """It has one result, in no list."""
    observer = exchange("/completion", b'{"prompt":[1,2,3]}', FIRST, protocol="llamacpp", media=JSON)
    facts = observer.facts()
    assert (facts.prompt_tokens, facts.completion_tokens) == (Fact(8), Fact(5))
    assert facts.cached_prompt_tokens == Fact(3)


def test_a_count_that_one_result_does_not_tell_is_not_known(exchange: Play) -> None:
    """A part of a sum is no sum."""
    answer = b"[" + FIRST + b"," + SECOND.replace(b'"tokens_evaluated":4,', b"") + b"]"
    observer = exchange("/completion", b'{"prompt":["a","b"]}', answer, protocol="llamacpp", media=JSON)
    facts = observer.facts()
    assert (facts.prompt_tokens, facts.completion_tokens) == (None, Fact(10))


@pytest.mark.parametrize("wish", [b'{"prompt":["a","b"],"n":2}', b'{"prompt":[' + b'"a",' * 64 + b'"a"]}'])
def test_results_that_cannot_be_told_apart_are_not_known(exchange: Play, wish: bytes) -> None:
    """Several choices of each prompt, or more results than are looked into."""
    answer = b"[" + FIRST + b"," + SECOND + b"]"
    assert exchange("/completion", wish, answer, protocol="llamacpp", media=JSON).facts() == TaskFacts()
