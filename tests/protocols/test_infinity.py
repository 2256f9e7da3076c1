"""Infinity's routes beyond OpenAI's."""

from collections.abc import Callable

import pytest

from joulegate.ports import InferenceProtocol

Load = Callable[[str], InferenceProtocol]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/embeddings_image", "infinity.embeddings"),
        ("/v1/embeddings_audio", "infinity.embeddings"),
        ("/classify", "infinity.classify"),
    ],
)
def test_routes(plugin: Load, path: str, name: str) -> None:
    """They are known below any prefix; what is under ``/v1`` with OpenAI's names is OpenAI's."""
    route = plugin("infinity").matches("POST", path)
    assert route
    assert route.name == name
    assert plugin("infinity").matches("GET", path) is None
    assert plugin("infinity").matches("POST", "/v1/classify") is None
