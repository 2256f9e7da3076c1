"""LMDeploy's own routes."""

from collections.abc import Callable

import pytest

from joulegate.model import WorkClass
from joulegate.ports import InferenceProtocol

Load = Callable[[str], InferenceProtocol]


@pytest.mark.parametrize(
    ("path", "work"),
    [
        ("/get_ppl", WorkClass.INFERENCE),
        ("/v1/encode", WorkClass.ADMIN),
        ("/wakeup", WorkClass.MODEL_LOAD),
        ("/update_weights", WorkClass.MODEL_LOAD),
    ],
)
def test_routes(plugin: Load, path: str, work: WorkClass) -> None:
    """``/v1/encode`` only makes tokens; a perplexity takes the whole model."""
    route = plugin("lmdeploy").matches("POST", path)
    assert route
    assert route.work == work
    assert plugin("lmdeploy").matches("GET", path) is None
