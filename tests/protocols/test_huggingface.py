"""Hugging Face's inference toolkit."""

from collections.abc import Callable

import pytest

from joulegate.model import Asked, Fact, FactSource, Task, TaskFacts
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]


@pytest.mark.parametrize(
    ("path", "task", "model"),
    [
        ("/", Task.UNKNOWN, None),
        ("/predict", Task.UNKNOWN, None),
        ("/pipeline/fill-mask", Task.MASKED_LANGUAGE_MODELLING, None),
        ("/pipeline/translation", Task.UNKNOWN, None),
        ("/models/a/b", Task.UNKNOWN, "a/b"),
        ("/hf-inference/models/a/b%20c/pipeline/object-detection", Task.OBJECT_DETECTION, "a/b c"),
    ],
)
def test_routes(plugin: Load, path: str, task: Task, model: str | None) -> None:
    """Task and model are known where the path names them."""
    route = plugin("huggingface").matches("POST", path)
    assert route
    assert (route.name, route.task, route.model) == ("pipeline", task, model)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("POST", "/pipeline/"), ("POST", "/models/a"), ("POST", "/models/a/invoke")],
)
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """Health checks and the models of other servers."""
    assert plugin("huggingface").matches(method, path) is None


@pytest.mark.parametrize(
    ("request_body", "results", "characters"),
    [
        (b'{"inputs":"abc"}', 1, 3),
        (b'{"inputs":["a","bc"]}', 2, 3),
        (b'{"inputs":{"question":"a","context":"b"}}', 1, None),
        (b'{"inputs":[[1,2]]}', 1, None),
        (b'{"inputs":[]}', 0, None),
        (b'{"instances":[{},{},{}]}', 3, None),
        (b'{"inputs":"' + b"x" * 20_000 + b'"}', 1, None),
    ],
)
def test_results_are_as_many_as_inputs(
    exchange: Play, request_body: bytes, results: int, characters: int | None
) -> None:
    """One for a single input; characters are those of texts that can be kept."""
    observer = exchange("/predict", request_body, b"[]", protocol="huggingface")
    known = None if characters is None else Fact(characters, FactSource.DERIVED)
    assert observer.facts() == TaskFacts(choices=Fact(results, FactSource.DERIVED), characters=known)


def test_a_picture_of_unknown_size_has_the_size_that_was_asked_for(exchange: Play) -> None:
    """And none if none was."""
    size = b'{"inputs":"a","parameters":{"width":64,"height":32}}'
    observer = exchange("/", size, b"?", protocol="huggingface", media=b"image/avif")
    assert observer.asked() == Asked(width=64, height=32)
    assert observer.facts().pixels == Fact(2048, FactSource.DERIVED)
    assert exchange("/", b"{}", b"?", protocol="huggingface", media=b"image/avif").facts().pixels is None


def test_a_picture_that_breaks_off_is_none(exchange: Play) -> None:
    """Only whole ones are counted."""
    observer = exchange("/", b"{}", b"?", protocol="huggingface", media=b"image/png", complete=False)
    assert observer.facts().images is None
