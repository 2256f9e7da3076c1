"""BentoML's tasks."""

from collections.abc import Callable

import pytest

from joulegate.model import WorkClass
from joulegate.ports import InferenceProtocol

Load = Callable[[str], InferenceProtocol]


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("POST", "/generate/submit", WorkClass.INFERENCE),
        ("POST", "/generate/retry", WorkClass.INFERENCE),
        ("GET", "/generate/status", WorkClass.ADMIN),
        ("GET", "/generate/get", WorkClass.ADMIN),
        ("PUT", "/generate/cancel", WorkClass.ADMIN),
        ("GET", "/schema.json", WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, work: WorkClass) -> None:
    """Submitting begins work, looking after it does none."""
    route = plugin("bentoml").matches(method, path)
    assert route
    assert route.work is work


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/generate"), ("POST", "/submit"), ("POST", "/generate/cancel"), ("GET", "/a/b/status")],
)
def test_a_services_own_routes_are_left_to_rules(plugin: Load, method: str, path: str) -> None:
    """A service may call its paths anything."""
    assert plugin("bentoml").matches(method, path) is None
