"""TensorRT-LLM's own routes."""

from collections.abc import Callable

import pytest

from joulegate.model import WorkClass
from joulegate.ports import InferenceProtocol

Load = Callable[[str], InferenceProtocol]


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("GET", "/perf_metrics", WorkClass.PROBE),
        ("GET", "/steady_clock_offset", WorkClass.PROBE),
        ("POST", "/steady_clock_offset", WorkClass.ADMIN),
        ("POST", "/release_memory", WorkClass.MODEL_LOAD),
    ],
)
def test_routes(plugin: Load, method: str, path: str, work: WorkClass) -> None:
    """None of them is inference."""
    route = plugin("trtllm").matches(method, path)
    assert route
    assert route.work == work
    assert plugin("trtllm").matches("DELETE", path) is None
