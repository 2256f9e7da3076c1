"""A realtime session has one request for each of its answers."""

import json
from typing import Any

from joulegate.model import JobSign, JobState, Task
from joulegate.protocols.openai.realtime import Realtime
from joulegate.units import Nanoseconds


def heard(*events: dict[str, Any]) -> list[JobSign]:
    listener = Realtime(())
    for event in events:
        listener.message(Nanoseconds(0), json.dumps(event).encode(), text=True, from_client=False)
    return listener.jobs()


CREATED = {"type": "response.created", "response": {"id": "r1", "status": "in_progress"}}
DELTA = {"type": "response.output_audio.delta", "response_id": "r1", "delta": "AAAA"}


def test_an_answer_begins_speaks_and_ends() -> None:
    """However many parts it has, it is told to speak once; two answers may take turns."""
    done = {
        "type": "response.done",
        "response": {"id": "r1", "status": "completed", "usage": {"input_tokens": 3}},
    }
    first, second, last = heard(CREATED, DELTA, DELTA, DELTA, done)
    assert first.work is not None
    assert (first.job, first.work.task, second.state, second.work) == (
        "r1",
        Task.CHAT,
        JobState.RUNNING,
        None,
    )
    assert last.state is JobState.DONE
    assert last.facts.prompt_tokens is not None
    assert last.facts.prompt_tokens.value == 3
    assert last.facts.completion_tokens is None


def test_a_cancelled_answer_is_told_as_such() -> None:
    """The user spoke over it."""
    cut = {"type": "response.done", "response": {"id": "r1", "status": "cancelled", "usage": None}}
    assert [sign.state for sign in heard(CREATED, cut)] == [JobState.RUNNING, JobState.CANCELLED]


def test_transcriptions_over_the_route_are_requests_too() -> None:
    """They have no ids: they are counted."""
    part, done = {"type": "transcription.delta", "delta": "a"}, {"type": "transcription.done", "text": "a"}
    signs = heard(part, part, done, part, done)
    assert [(sign.job, sign.state) for sign in signs] == [
        ("transcription-0", JobState.RUNNING),
        ("transcription-0", JobState.DONE),
        ("transcription-1", JobState.RUNNING),
        ("transcription-1", JobState.DONE),
    ]


def test_what_the_client_says_and_binary_frames_are_not_the_servers_word() -> None:
    """A client could begin requests that nobody works on."""
    listener = Realtime(())
    text = json.dumps(CREATED).encode()
    listener.message(Nanoseconds(0), text, text=True, from_client=True)
    listener.message(Nanoseconds(0), text, text=False, from_client=False)
    listener.message(
        Nanoseconds(0), b'{"type":"response.created","response":7}', text=True, from_client=False
    )
    assert listener.jobs() == []
