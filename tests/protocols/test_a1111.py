"""AUTOMATIC1111's interface and those that speak its language."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from joulegate.model import Asked, Fact, FactSource, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
DERIVED = FactSource.DERIVED


@pytest.mark.parametrize(
    ("method", "path", "name", "work"),
    [
        ("POST", "/sdapi/v1/txt2img", "txt2img", WorkClass.INFERENCE),
        ("POST", "/sdapi/v1/img2img", "img2img", WorkClass.INFERENCE),
        ("POST", "/sdapi/v1/extra-single-image", "extras", WorkClass.INFERENCE),
        ("POST", "/sdapi/v1/interrogate", "interrogate", WorkClass.INFERENCE),
        ("POST", "/sdapi/v1/reload-checkpoint", "load", WorkClass.MODEL_LOAD),
        ("POST", "/sdapi/v1/options", "options", WorkClass.ADMIN),
        ("POST", "/sdapi/v1/interrupt", "admin", WorkClass.ADMIN),
        ("POST", "/sdapi/v1/train/embedding", "admin", WorkClass.ADMIN),
        ("GET", "/sdapi/v1/progress", "probe", WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, name: str, work: WorkClass) -> None:
    """Each route has its class of work."""
    route = plugin("a1111").matches(method, path)
    assert route
    assert (route.name, route.work, route.dialect) == (name, work, "a1111")


@pytest.mark.parametrize(("method", "path"), [("POST", "/sdapi"), ("PUT", "/sdapi/v1/options"), ("GET", "/")])
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """Only what stands below ``/sdapi/v1``."""
    assert plugin("a1111").matches(method, path) is None


def drawn(exchange: Play, request: dict[str, Any], answer: dict[str, Any]) -> Observer:
    return exchange(
        "/sdapi/v1/txt2img", json.dumps(request).encode(), json.dumps(answer).encode(), protocol="a1111"
    )


def facts(images: int, area: int, steps: int | None) -> TaskFacts:
    known = None if steps is None else Fact(steps, DERIVED)
    return TaskFacts(images=Fact(images, DERIVED), pixels=Fact(images * area, DERIVED), steps=known)


@pytest.mark.parametrize(
    ("request_body", "answer", "expected"),
    [
        ({}, {"images": ["a"], "info": '{"width":8,"height":4,"steps":3}'}, facts(1, 32, 3)),
        ({}, {"images": ["a"], "parameters": {"width": 8, "height": 4, "steps": 2}}, facts(1, 32, 2)),
        ({"width": 8, "height": 4}, {"images": ["a", "b"], "info": ""}, facts(2, 32, None)),
        ({"width": 1}, {"images": ["a"], "info": '{"width":8,"height":4,"steps":-1}'}, facts(1, 32, None)),
        ({"width": 8, "height": 4}, {"images": ["a"], "info": "no JSON"}, facts(1, 32, None)),
        ({"width": 8, "height": 4}, {"images": ["a"], "info": {"width": 9}}, facts(1, 32, None)),
    ],
)
def test_the_servers_word_counts_more_than_the_wish(
    exchange: Play, request_body: dict[str, Any], answer: dict[str, Any], expected: TaskFacts
) -> None:
    """First the final values, then the echo with its defaults, then what was asked for."""
    assert drawn(exchange, request_body, answer).facts() == expected


@pytest.mark.parametrize(
    ("listed", "seeds", "images"), [(5, 4, 4), (2, 4, 2), (0, 3, 3), (1, 0, 1), (4, 4, 4)]
)
def test_only_images_with_a_seed_are_counted(exchange: Play, listed: int, seeds: int, images: int) -> None:
    """A grid has none; an interrupted run has fewer images; images that are not sent have seeds."""
    info = json.dumps({"width": 8, "height": 4, "all_seeds": [1] * seeds})
    observer = drawn(exchange, {}, {"images": ["a"] * listed, "info": info})
    assert observer.facts().images == Fact(images, DERIVED)


@pytest.mark.parametrize(
    ("wish", "images"),
    [({}, None), ({"n_iter": 3}, 3), ({"batch_size": 2}, 2), ({"n_iter": 3, "batch_size": 2}, 6)],
)
def test_batches_and_rounds_multiply(exchange: Play, wish: dict[str, int], images: int | None) -> None:
    """What is not given is the server's own default."""
    assert drawn(exchange, wish, {}).asked() == Asked(images=images)


def test_an_answer_that_breaks_off_has_no_facts(exchange: Play) -> None:
    """Images that never came are not counted."""
    answer = b'{"images":["aaaa","bb'
    observer = exchange("/sdapi/v1/txt2img", b"{}", answer, protocol="a1111", complete=False)
    assert observer.facts() == TaskFacts()


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (b'{"sd_model_checkpoint":"xl"}', Asked(model="xl", work=WorkClass.MODEL_LOAD)),
        (b'{"CLIP_stop_at_last_layers":2}', Asked()),
    ],
)
def test_setting_the_checkpoint_loads_a_model(exchange: Play, options: bytes, asked: Asked) -> None:
    """Other options load nothing."""
    assert exchange("/sdapi/v1/options", options, b"null", protocol="a1111").asked() == asked
