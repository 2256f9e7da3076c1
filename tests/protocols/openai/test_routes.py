"""The family's routes are known wherever servers put them."""

import pytest

from joulegate.model import Task, WorkClass
from joulegate.protocols.openai.routes import match


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1", "/my/own/prefix/v1", "", "/api"])
@pytest.mark.parametrize(
    ("path", "name", "task"),
    [
        ("/chat/completions", "chat.completions", Task.CHAT),
        ("/responses", "responses", Task.CHAT),
        ("/images/generations", "images.generations", Task.IMAGE_GENERATION),
        ("/images/edits", "images.edits", Task.IMAGE_EDIT),
        ("/images/variations", "images.variations", Task.IMAGE_EDIT),
        ("/images/inpainting", "images.inpainting", Task.IMAGE_EDIT),
        ("/responses/compact", "responses.compact", Task.SUMMARIZATION),
        ("/audio/generate", "audio.generate", Task.SPEECH_SYNTHESIS),
        ("/audio/speech/batch", "audio.speech", Task.SPEECH_SYNTHESIS),
        ("/audio/diarization", "audio.diarization", Task.UNKNOWN),
        ("/rerank", "rerank", Task.RERANK),
        ("/moderations", "moderations", Task.MODERATION),
        ("/audio/speech", "audio.speech", Task.SPEECH_SYNTHESIS),
        ("/audio/transcriptions", "audio.transcriptions", Task.SPEECH_RECOGNITION),
    ],
)
def test_inference_routes(prefix: str, path: str, name: str, task: Task) -> None:
    """Each has its name and its task, with and without a prefix and a slash at the end."""
    for spelled in (prefix + path, prefix + path + "/"):
        route = match("POST", spelled)
        assert route
        assert (route.name, route.task, route.work) == (name, task, WorkClass.INFERENCE)


@pytest.mark.parametrize(("path", "name"), [("/completions", "completions"), ("/embeddings", "embeddings")])
def test_two_bare_routes_are_llamacpps(path: str, name: str) -> None:
    """Bare ``/completions`` and ``/embeddings`` have other bodies on llama.cpp."""
    behind = match("POST", "/v1" + path)
    assert behind
    assert behind.name == name
    assert match("POST", path) is None


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/openai/deployments/my%20gpt/chat/completions", "my gpt"),
        ("/engines/ada/completions", "ada"),
        ("/v1/engines/org%2Fada/embeddings", "org/ada"),
    ],
)
def test_the_path_may_name_the_model(path: str, model: str) -> None:
    """Azure's deployments and the old engines."""
    route = match("POST", path)
    assert route
    assert (route.model, route.work) == (model, WorkClass.INFERENCE)


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("GET", "/v1/models", WorkClass.PROBE),
        ("GET", "/v1/models/org/name", WorkClass.PROBE),
        ("HEAD", "/v1/models", WorkClass.PROBE),
        ("GET", "/v1/responses/resp_1", WorkClass.ADMIN),
        ("POST", "/v1/responses/resp_1/cancel", WorkClass.ADMIN),
        ("POST", "/v1/responses/input_tokens", WorkClass.ADMIN),
        ("POST", "/v1/files", WorkClass.ADMIN),
        ("DELETE", "/v1/files/file-1", WorkClass.ADMIN),
    ],
)
def test_control_routes_are_no_inference(method: str, path: str, work: WorkClass) -> None:
    """They never enter the figures of a task."""
    route = match(method, path)
    assert route
    assert (route.work, route.task) == (work, Task.UNKNOWN)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/"),
        ("POST", "/v1/messages"),
        ("GET", "/v2/models/m/ready"),
        ("POST", "/v2/chat/completions"),
        ("POST", "/chat"),
        ("GET", "/v1/audio/speech"),
        ("POST", "/xv1/chat/completions"),
    ],
)
def test_other_routes_are_left_to_others(method: str, path: str) -> None:
    """What is not of the family is not claimed."""
    assert match(method, path) is None
