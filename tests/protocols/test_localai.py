"""LocalAI's own routes."""

from collections.abc import Callable

import pytest

from joulegate.model import Fact, FactSource, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]


@pytest.mark.parametrize(
    ("method", "path", "task", "work"),
    [
        ("POST", "/tts", Task.SPEECH_SYNTHESIS, WorkClass.INFERENCE),
        ("POST", "/v1/text-to-speech/alice", Task.SPEECH_SYNTHESIS, WorkClass.INFERENCE),
        ("POST", "/v1/vad", Task.UNKNOWN, WorkClass.INFERENCE),
        ("POST", "/v1/detection", Task.OBJECT_DETECTION, WorkClass.INFERENCE),
        ("POST", "/v1/face/identify", Task.UNKNOWN, WorkClass.INFERENCE),
        ("POST", "/v1/voice/forget", Task.UNKNOWN, WorkClass.ADMIN),
        ("POST", "/models/delete/m", Task.UNKNOWN, WorkClass.ADMIN),
        ("POST", "/v1/backend/shutdown", Task.UNKNOWN, WorkClass.ADMIN),
        ("GET", "/backend/monitor", Task.UNKNOWN, WorkClass.PROBE),
        ("GET", "/.well-known/localai.json", Task.UNKNOWN, WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, task: Task, work: WorkClass) -> None:
    """Each is known with and without ``/v1``."""
    route = plugin("localai").matches(method, path)
    assert route
    assert (route.task, route.work) == (task, work)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/tts"), ("POST", "/models/load"), ("GET", "/v1/models")]
)
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """llama.cpp's router has ``/models`` too."""
    assert plugin("localai").matches(method, path) is None


@pytest.mark.parametrize(("status", "characters"), [(200, Fact(2, FactSource.DERIVED)), (500, None)])
def test_characters_of_what_was_spoken(
    exchange: Callable[..., Observer], status: int, characters: Fact | None
) -> None:
    """Characters, not bytes; of a failure none."""
    body = b'{"input":"ja"}'
    observer = exchange("/tts", body, b"", protocol="localai", media=b"audio/x-wav", status=status)
    assert observer.facts() == TaskFacts(characters=characters)
