"""Vector 24: a job is polled by another client than the one that submitted it, through another gate."""

import json
from typing import Any

from joulegate.meter.requests.job_joiner import JobJoiner
from joulegate.model import JobNote, JobState, Outcome, SpanClosed, SpanJob, SpanOpened, WorkClass
from joulegate.protocols.openai import Plugin
from joulegate.testing.upstream import Peer

JSON = b"Content-Type: application/json"
VIDEO = {"id": "video_1", "object": "video", "model": "wan2.1", "created_at": 1_790_000_000}
STATES = ["queued", "in_progress", "in_progress", "completed"]


async def test_a_job_that_someone_else_polls_ends_when_it_ends(start: Any, serve: Any) -> None:
    """One client submits through one gate, another polls through a second: one record, to the real end."""
    left = list(STATES)

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            told = {**VIDEO, "status": left.pop(0)}
            await peer.answer(json.dumps(told).encode(), fields=[JSON])
            assert request.target.startswith(b"/v1/videos")

    upstream = await serve(script)
    target = {"protocols": {"openai": Plugin()}}
    mine, theirs = await start(upstream, **target), await start(upstream, **target)
    mine.gate._context.jobs.followed.clear()
    client, other = await mine.client(), await theirs.client()
    body = b'{"model":"wan2.1","prompt":"waves","size":"832x480"}'
    await client.ask("/v1/videos", body=body, fields=JSON + b"\r\n")
    assert (await client.answer())[0] == 200
    mine.gate._context.jobs.followed.clear()  # the gate itself would ask too
    for _ in STATES[1:]:
        await other.ask("/v1/videos/video_1", method="GET")
        assert (await other.answer())[0] == 200
    await mine.events.closed()
    await theirs.events.closed(len(STATES) - 1)

    joiner, joined = JobJoiner(), []
    for gate, bench in (("mine", mine), ("theirs", theirs)):
        joined += [one for event in bench.events.all for one in joiner.event(gate, event)]
    (submitted,) = mine.events.of(SpanOpened)
    job = [event for gate, event in joined if event.id == submitted.id and gate == "mine"]
    assert [type(event) for event in job] == [SpanOpened, SpanJob, SpanJob, SpanClosed]
    assert [event.state for event in job[1:3]] == [JobState.ACCEPTED, JobState.RUNNING]
    end, last = job[3], theirs.events.of(JobNote)[-1]
    assert (end.outcome, end.job, end.status) == (Outcome.OK, "video_1", 200)
    assert last.last is not None
    assert last.last <= end.t <= last.t
    polls = [event for gate, event in joined if gate == "theirs" and isinstance(event, SpanOpened)]
    assert {event.work for event in polls} == {WorkClass.ADMIN}
    assert len(theirs.events.of(JobNote)) == 2, "what is told again is not new"
