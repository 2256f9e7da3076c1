"""Videos, batches and responses in the background are jobs, whoever tells of them."""

import json

import pytest

from joulegate.model import JobSign, JobState, Task
from joulegate.protocols.openai import Plugin
from joulegate.protocols.openai.jobs import LARGEST_LIST, ListedJobs, sign
from joulegate.units import NANO

JSON = ((b"Content-Type", b"application/json"),)


def told(method: str, path: str, answer: object, *, body: object = None, status: int = 200) -> list[JobSign]:
    plugin = Plugin()
    route = plugin.matches(method, path)
    assert route is not None
    observer = plugin.observer(route, JSON)
    if body is not None:
        observer.request_body(json.dumps(body).encode())
    observer.response_head(status, JSON)
    observer.response_body(0, json.dumps(answer).encode())  # type: ignore[arg-type]
    observer.response_end(complete=True)
    return list(observer.jobs())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("queued", JobState.ACCEPTED),
        ("validating", JobState.ACCEPTED),
        ("finalizing", JobState.RUNNING),
        ("cancelling", JobState.RUNNING),
        ("incomplete", JobState.DONE),
        ("expired", JobState.FAILED),
        ("cancelled", JobState.CANCELLED),
        ("deleted", None),
    ],
)
def test_the_status_says_how_the_job_is(status: str, state: JobState | None) -> None:
    """A word that nobody knows says nothing."""
    found = sign({"id": b'"x"', "status": json.dumps(status).encode()})
    assert (found and found.state) == state


def test_only_what_submits_is_the_jobs_request() -> None:
    """A poll of the same object is not, nor is a response that was made at once."""
    video = {"id": "v", "status": "queued"}
    assert [one.submitted for one in told("POST", "/v1/videos", video)] == [True]
    assert [one.submitted for one in told("GET", "/v1/videos/v", video)] == [False]
    assert told("POST", "/v1/responses", {"id": "r", "status": "completed"}) == []
    assert [one.submitted for one in told("POST", "/v1/responses", {"id": "r", "status": "queued"})] == [True]


def test_a_refusal_is_no_job() -> None:
    """Whatever stands in it."""
    assert told("POST", "/v1/videos", {"id": "v", "status": "queued"}, status=400) == []


def test_an_end_is_one_only_when_the_job_has_ended() -> None:
    """``expires_at`` and the like of a running batch are no end."""
    members = {"id": b'"b"', "status": b'"in_progress"', "in_progress_at": b"5", "completed_at": b"9"}
    running, done = sign(members), sign({**members, "status": b'"completed"'})
    assert running is not None
    assert done is not None
    assert (running.began, running.ended) == (5 * NANO, None)
    assert done.ended == 9 * NANO


def test_a_stream_in_the_background_that_is_left_goes_on() -> None:
    """The client may leave it: then it is a job; read to its end it is an answer like any other."""
    first = {"type": "response.created", "response": {"id": "r", "status": "queued", "background": True}}
    last = {"type": "response.completed", "response": {"id": "r", "status": "completed", "background": True}}
    for events, complete, jobs in (([first], False, ["r"]), ([first, last], False, []), ([first], True, [])):
        observer = Plugin().observer(Plugin().matches("POST", "/v1/responses"), ())  # type: ignore[arg-type]
        observer.response_head(200, ((b"Content-Type", b"text/event-stream"),))
        for event in events:
            observer.response_body(0, f"data: {json.dumps(event)}\n\n".encode())  # type: ignore[arg-type]
        observer.response_end(complete=complete)
        assert [one.job for one in observer.jobs()] == jobs  # type: ignore[attr-defined]


def test_a_batch_has_the_task_of_its_lines() -> None:
    """Its own route says nothing of it."""
    plugin = Plugin()
    route = plugin.matches("POST", "/v1/batches")
    assert route is not None
    observer = plugin.observer(route, JSON)
    observer.request_body(b'{"endpoint":"/v1/embeddings"}')
    assert observer.asked().task is Task.EMBEDDINGS


def test_a_list_without_end_is_not_kept() -> None:
    """Beyond some size it says nothing."""
    listed = ListedJobs(())
    listed.response_head(200, JSON)
    for _ in range(3):
        listed.response_body(0, b" " * LARGEST_LIST)  # type: ignore[arg-type]
    listed.response_end(complete=True)
    assert listed.jobs() == []


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/videos", "/v1/videos/a%2Fb"),
        ("/proxy/v1/videos/x/remix", "/proxy/v1/videos/a%2Fb"),
        ("/v1/videos/edits", "/v1/videos/a%2Fb"),
        ("/v1/batches", "/v1/batches/a%2Fb"),
        ("/openai/v1/responses", "/openai/v1/responses/a%2Fb"),
    ],
)
def test_a_job_is_asked_after_beside_the_route_that_took_it(path: str, asked: str) -> None:
    """Below the same prefix."""
    assert Plugin().inquiries(path, "a/b") == (asked,)


@pytest.mark.parametrize("path", ["/videos", "/batches"])
def test_bare_names_are_not_taken(path: str) -> None:
    """Without ``/v1`` they may be anyone's."""
    assert Plugin().matches("POST", path) is None
