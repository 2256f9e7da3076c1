"""Jobs that no traffic tells of are asked after: gently, as the submitter, to their end."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from joulegate.errors import UpstreamError
from joulegate.gateway.jobs import job_poller as follow
from joulegate.gateway.jobs import job_tracker as jobs
from joulegate.model import JobNote, JobState, Outcome
from joulegate.protocols.comfyui import Plugin
from joulegate.testing.upstream import Peer
from joulegate.units import Nanoseconds

GRAPH = json.dumps({"prompt": {"3": {"class_type": "KSampler", "inputs": {"steps": 20}}}}).encode()
Answer = tuple[int, object]


def server(*answers: Answer, asked: list[bytes]) -> Callable[[Peer], Any]:
    """Give a server that accepts a prompt and answers each question with the next of these, then with 500."""
    left = list(answers)

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            if request.line.startswith(b"POST"):
                await peer.answer(b'{"prompt_id":"p","number":1,"node_errors":{}}', fields=[JSON])
                continue
            asked.append(request.head)
            status, body = left.pop(0) if left else (500, None)
            await peer.answer(json.dumps(body).encode(), status=f"{status} Said", fields=[JSON])

    return script


JSON = b"Content-Type: application/json"


@pytest.fixture
def following(start: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Submits a job through a gate in front of such a server; the gate asks 25 times as often as usual."""
    monkeypatch.setattr(jobs, "FIRST", Nanoseconds(jobs.FIRST // 25))

    async def begin(*answers: Answer, asked: list[bytes]) -> Any:
        bench = await start(await serve(server(*answers, asked=asked)), protocols={"comfyui": Plugin()})
        client = await bench.client()
        fields = JSON + b"\r\nAuthorization: Bearer k\r\nX-Other: 1\r\n"
        await client.ask("/prompt", body=GRAPH, fields=fields)
        assert (await client.answer())[0] == 200
        return bench

    return begin


async def told(bench: Any, count: int) -> list[tuple[JobState, bool]]:
    notes: list[JobNote] = await bench.events.some(JobNote, count)
    return [(note.sign.state, note.own) for note in notes]


async def test_a_job_is_followed_to_its_end(following: Any) -> None:
    """Client and websocket are silent: the gate asks the jobs API, and stops when the job has ended."""
    asked: list[bytes] = []
    bench = await following(
        (200, {"id": "p", "status": "pending"}),
        (200, {"id": "p", "status": "in_progress"}),
        (200, {"id": "p", "status": "completed", "execution_start_time": 1, "execution_end_time": 2}),
        asked=asked,
    )
    assert await told(bench, 3) == [
        (JobState.ACCEPTED, True),
        (JobState.RUNNING, False),
        (JobState.DONE, False),
    ]
    assert not bench.gate._context.jobs.followed
    assert [head.split(b"\r\n")[0] for head in asked] == [b"GET /api/jobs/p HTTP/1.1"] * 3
    assert all(
        b"authorization: bearer k" in head.lower() and b"x-other" not in head.lower() for head in asked
    )


async def test_an_older_server_is_asked_for_its_history_and_its_queue(following: Any) -> None:
    """It does not know the jobs API; its history is empty until the job has ended, its queue shows it run."""
    asked: list[bytes] = []
    entry = {"status": {"status_str": "success", "messages": []}}
    running = {"queue_running": [[0, "p", {}]], "queue_pending": [[1, "other", {}]]}
    answers = [(404, None), (200, {}), (200, running), (200, {"p": entry})]
    bench = await following(*answers, asked=asked)
    told = {(note.sign.job, note.sign.state) for note in await bench.events.some(JobNote, 4)}
    assert told >= {("p", JobState.RUNNING), ("p", JobState.DONE), ("other", JobState.ACCEPTED)}
    assert [head.split(b" ")[1] for head in asked] == [
        b"/api/jobs/p",
        b"/history/p",
        b"/queue",
        b"/history/p",
    ]


@pytest.mark.parametrize(
    ("before", "state"), [("pending", JobState.CANCELLED), ("in_progress", JobState.FAILED)]
)
async def test_a_job_that_the_server_no_longer_knows_has_ended(
    following: Any, before: str, state: JobState
) -> None:
    """Taken out of its queue, or forgotten with all others at a restart."""
    bench = await following((200, {"id": "p", "status": before}), (404, None), asked=[])
    assert (await told(bench, 2 if before == "pending" else 3))[-1] == (state, False)


async def test_a_server_that_does_not_answer_is_left_alone(
    following: Any, monkeypatch: pytest.MonkeyPatch, soon: Any
) -> None:
    """After some failures the job is not asked after any more; what is known of it stays."""
    monkeypatch.setattr(follow, "FAILURES", 1)

    async def fail(*_: object, **__: object) -> None:
        raise UpstreamError(Outcome.UPSTREAM_TIMEOUT, "no answer")

    monkeypatch.setattr(follow, "call", fail)
    bench = await following(asked=[])
    async with soon():
        while bench.gate._context.jobs.followed:
            await asyncio.sleep(0.01)
    assert await told(bench, 1) == [(JobState.ACCEPTED, True)]


async def test_answers_that_make_no_sense_are_borne(following: Any) -> None:
    """Garbage, an error, another job: the gate asks again."""
    bench = await following(
        *[(500, None)] * 3,
        *[(200, ["?"])] * 3,
        (200, {"id": "p", "status": "failed"}),
        asked=[],
    )
    assert await told(bench, 2) == [(JobState.ACCEPTED, True), (JobState.FAILED, False)]
