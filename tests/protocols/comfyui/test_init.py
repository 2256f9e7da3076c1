"""ComfyUI's routes, and where its jobs are asked after."""

import pytest

from joulegate.model import JobState, WorkClass
from joulegate.protocols.comfyui import (
    LARGEST_ANSWER,
    LARGEST_GRAPH,
    ComfyuiReport,
    Plugin,
    Submission,
    events,
)

JSON = ((b"Content-Type", b"application/json"),)


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/prompt", "prompt"),
        ("POST", "/api/prompt", "prompt"),
        ("GET", "/prompt", "probe"),
        ("GET", "/api/ws", "websocket"),
        ("GET", "/api/jobs/x", "job"),
        ("GET", "/api/jobs", "jobs"),
        ("POST", "/api/jobs/cancel", "admin"),
        ("DELETE", "/prompt", None),
        ("GET", "/models", None),
        ("GET", "/jobs", None),
    ],
)
def test_every_route_is_known_with_and_without_its_prefix(method: str, path: str, route: str | None) -> None:
    """The jobs API alone is never without."""
    found = Plugin().matches(method, path)
    assert (found and found.name) == route


def test_only_a_prompt_is_inference() -> None:
    """Everything else looks or controls."""
    plugin = Plugin()
    for path in ("/ws", "/queue", "/history", "/api/jobs/x", "/view", "/object_info"):
        route = plugin.matches("GET", path)
        assert route is not None
        assert route.work in (WorkClass.ADMIN, WorkClass.PROBE)


def test_jobs_are_asked_after_beside_the_route_that_took_them() -> None:
    """Below a prefix of the user's own too; an id goes into the path as text."""
    paths = Plugin().inquiries("/image/api/prompt", "a?b")
    assert paths == ("/image/api/jobs/a%3Fb", "/image/history/a%3Fb", "/image/queue")


def test_bodies_without_end_are_not_kept() -> None:
    """A graph of that size says nothing, and the job is told all the same."""
    submission = Submission(())
    submission.request_body(
        b'{"prompt":{"3":{"class_type":"KSampler","inputs":{"steps":20}}}}' + b" " * LARGEST_GRAPH
    )
    assert submission.asked().steps is None
    submission.response_head(200, JSON)
    submission.response_body(0, b'{"prompt_id":"p"}')  # type: ignore[arg-type]
    submission.response_end(complete=True)
    assert [(sign.job, sign.state, sign.nodes) for sign in submission.jobs()] == [
        ("p", JobState.ACCEPTED, ())
    ]
    report = ComfyuiReport((), events.history)
    report.response_head(200, JSON)
    for _ in range(3):
        report.response_body(0, bytes(LARGEST_ANSWER // 2))  # type: ignore[arg-type]
    report.response_end(complete=True)
    assert report.jobs() == []
