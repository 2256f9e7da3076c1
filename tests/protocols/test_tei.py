"""Text Embeddings Inference's own routes."""

from collections.abc import Callable

import pytest

from joulegate.model import Task, WorkClass
from joulegate.ports import InferenceProtocol

Load = Callable[[str], InferenceProtocol]


@pytest.mark.parametrize(
    ("method", "path", "task", "work"),
    [
        ("POST", "/embed", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/embed_all", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/embed_sparse", Task.EMBEDDINGS, WorkClass.INFERENCE),
        ("POST", "/predict", Task.TEXT_CLASSIFICATION, WorkClass.INFERENCE),
        ("POST", "/decode", Task.UNKNOWN, WorkClass.ADMIN),
        ("GET", "/info", Task.UNKNOWN, WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, task: Task, work: WorkClass) -> None:
    """Each has its task and its class of work."""
    route = plugin("tei").matches(method, path)
    assert route
    assert (route.task, route.work) == (task, work)


@pytest.mark.parametrize(("method", "path"), [("GET", "/embed"), ("POST", "/rerank"), ("POST", "/info")])
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """``/rerank`` is the OpenAI family's, whose observer reads the same head."""
    assert plugin("tei").matches(method, path) is None
