"""The door of SageMaker and Vertex AI containers."""

from collections.abc import Callable

import pytest

from joulegate.model import Asked, Fact, FactSource, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("POST", "/invocations", WorkClass.INFERENCE),
        ("POST", "/models/m/invoke", WorkClass.INFERENCE),
        ("GET", "/ping", WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, work: WorkClass) -> None:
    """The two paths of every container, and the one of those with several models."""
    route = plugin("sagemaker").matches(method, path)
    assert route
    assert route.work is work


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/ping"), ("GET", "/invocations"), ("POST", "/models/m")]
)
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """Nothing else is a container's own."""
    assert plugin("sagemaker").matches(method, path) is None


@pytest.mark.parametrize(
    ("request_body", "asked"),
    [
        (b'{"model":"m","max_tokens":3,"stream":false}', Asked("m", False, 3)),
        (b'{"inputs":"a","parameters":{"max_new_tokens":4,"stream":true}}', Asked(None, True, 4)),
        (b'{"text":"a","sampling_params":{"max_new_tokens":5},"stream":true}', Asked(None, True, 5)),
    ],
)
def test_each_form_tells_its_wish(exchange: Play, request_body: bytes, asked: Asked) -> None:
    """OpenAI's, TGI's and SGLang's."""
    assert exchange("/invocations", request_body, b"{}", protocol="sagemaker").asked() == asked


@pytest.mark.parametrize(
    ("request_body", "rewritten"),
    [
        (b'{"messages":[],"stream":true}', True),
        (b'{"prompt":"a","stream":true}', True),
        (b'{"prompt":"a"}', False),
        (b'{"inputs":"a","stream":true}', False),
    ],
)
def test_only_streams_of_openais_form_are_asked_for_usage(
    exchange: Play, request_body: bytes, rewritten: bool
) -> None:
    """TGI's own form knows no ``stream_options``."""
    observer = exchange("/invocations", request_body, b"{}", protocol="sagemaker")
    assert (observer.rewrite(request_body) is not None) == rewritten


def test_counts_so_far_are_taken_last(exchange: Play) -> None:
    """SGLang's events each have the counts so far; they are not summed, and a cut loses none of them."""
    answer = (
        b'data: {"text":"a","meta_info":{"prompt_tokens":5,"completion_tokens":1}}\n\n'
        b'data: {"text":"ab","meta_info":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
    )
    observer = exchange(
        "/invocations", b"{}", answer, protocol="sagemaker", media=b"text/event-stream", complete=False
    )
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(5), completion_tokens=Fact(2))


def test_results_are_counted_in_the_answer_before_the_request(exchange: Play) -> None:
    """Where neither has a list, they are unknown."""
    play = exchange("/invocations", b'{"instances":[1,2]}', b'{"predictions":[1]}', protocol="sagemaker")
    assert play.facts() == TaskFacts(choices=Fact(1, FactSource.DERIVED))
    play = exchange("/invocations", b'{"instances":[1,2]}', b"{}", protocol="sagemaker")
    assert play.facts() == TaskFacts(choices=Fact(2, FactSource.DERIVED))
    assert exchange("/invocations", b"{}", b"{}", protocol="sagemaker").facts() == TaskFacts()
