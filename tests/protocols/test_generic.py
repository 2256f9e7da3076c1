"""What nobody knows is metered too."""

from collections.abc import Callable

import pytest

from joulegate.model import Fact, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer

Load = Callable[[str], InferenceProtocol]


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("POST", "/predictions/resnet", WorkClass.INFERENCE),
        ("PUT", "/anything", WorkClass.INFERENCE),
        ("GET", "/generate", WorkClass.INFERENCE),
        ("GET", "/health", WorkClass.PROBE),
        ("HEAD", "/anything", WorkClass.PROBE),
        ("OPTIONS", "/anything", WorkClass.PROBE),
        ("POST", "/v1/load_lora_adapter", WorkClass.MODEL_LOAD),
        ("POST", "/start_profile", WorkClass.ADMIN),
    ],
)
def test_every_path_has_a_class_of_work(plugin: Load, method: str, path: str, work: WorkClass) -> None:
    """Only what may be inference enters the figures of a task, and that task is unknown."""
    route = plugin("generic").matches(method, path)
    assert route
    assert (route.work, route.task) == (work, Task.UNKNOWN)


def test_model_and_usage_in_their_usual_places_are_read(exchange: Callable[..., Observer]) -> None:
    """A server of one's own that reports tokens gets them counted."""
    observer = exchange("/mine", b'{"model":"x"}', b'{"usage":{"prompt_tokens":0}}', protocol="generic")
    assert observer.asked().model == "x"
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(0))
