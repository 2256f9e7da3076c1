"""TorchServe's routes."""

from collections.abc import Callable

import pytest

from joulegate.model import WorkClass
from joulegate.ports import InferenceProtocol

Load = Callable[[str], InferenceProtocol]


@pytest.mark.parametrize(
    ("method", "path", "name", "work", "model"),
    [
        ("POST", "/predictions/a%20b", "predictions", WorkClass.INFERENCE, "a b"),
        ("PUT", "/predictions/m/1.0", "predictions", WorkClass.INFERENCE, "m"),
        ("POST", "/explanations/m", "explanations", WorkClass.INFERENCE, "m"),
        ("POST", "/wfpredict/w", "workflow", WorkClass.INFERENCE, "w"),
        ("POST", "/models", "models", WorkClass.MODEL_LOAD, None),
        ("PUT", "/models/m/1.0", "models", WorkClass.MODEL_LOAD, None),
        ("PUT", "/models/m/1.0/set-default", "admin", WorkClass.ADMIN, None),
        ("DELETE", "/models/m", "admin", WorkClass.ADMIN, None),
        ("GET", "/api-description", "probe", WorkClass.PROBE, None),
    ],
)
def test_routes(plugin: Load, method: str, path: str, name: str, work: WorkClass, model: str | None) -> None:
    """Registering and scaling load models; the rest of management does no work."""
    route = plugin("torchserve").matches(method, path)
    assert route
    assert (route.name, route.work, route.model) == (name, work, model)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/predictions/m"), ("POST", "/predictions"), ("POST", "/models/load"), ("GET", "/models/m")],
)
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """The lists of models are many servers' own."""
    assert plugin("torchserve").matches(method, path) is None
