"""Where the recordings are, and streams to feed to observers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from joulegate import plugins
from joulegate.ports import InferenceProtocol, Observer, Route
from joulegate.units import Nanoseconds


@pytest.fixture(scope="session")
def recordings_folder() -> Path:
    """The folder with one folder of recordings a protocol."""
    return Path(__file__).parent / "recordings"


@pytest.fixture(scope="session")
def plugin() -> Callable[[str], InferenceProtocol]:
    """Loads a protocol by its name."""

    def load(name: str) -> InferenceProtocol:
        loaded: InferenceProtocol = plugins.build(plugins.PROTOCOLS, name)
        return loaded

    return load


Exchange = Callable[..., Observer]


@pytest.fixture(scope="session")
def exchange(plugin: Callable[[str], InferenceProtocol]) -> Exchange:
    """Plays one exchange to a fresh observer and gives the observer."""

    def play(
        path: str,
        request: bytes,
        answer: bytes,
        *,
        protocol: str = "openai",
        media: bytes = b"application/json",
        status: int = 200,
        complete: bool = True,
    ) -> Observer:
        chosen = plugin(protocol)
        route = chosen.matches("POST", path)
        assert isinstance(route, Route)
        observer = chosen.observer(route, [(b"Content-Type", b"application/json")])
        observer.request_body(request)
        observer.response_head(status, [(b"content-type", media)])
        observer.response_body(Nanoseconds(1), answer)
        observer.response_end(complete=complete)
        return observer

    return play
