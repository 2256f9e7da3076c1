"""What ComfyUI says of its jobs, in all its places, is the same thing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.model import JobState
from joulegate.protocols.comfyui import events


def message(kind: str, **data: object) -> bytes:
    return json.dumps({"type": kind, "data": {"prompt_id": "p", **data}}).encode()


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (message("execution_start", timestamp=1), JobState.RUNNING),
        (message("execution_cached", nodes=[]), JobState.RUNNING),
        (message("executing", node="3"), JobState.RUNNING),
        (message("executing", node=None), JobState.DONE),
        (message("execution_success"), JobState.DONE),
        (message("execution_error"), JobState.FAILED),
        (message("execution_interrupted"), JobState.CANCELLED),
        (message("executed", node="9"), None),
        (message("progress", value=1), None),
        (b'{"type":"executing","data":{"node":"3"}}', None),
        (b'{"type":"status","data":{"exec_info":{"queue_remaining":1}}}', None),
        (b'"exec', None),
    ],
)
def test_each_message_says_how_the_job_is(text: bytes, state: JobState | None) -> None:
    """Messages that are no prompt's say nothing."""
    sign = events.pushed(text)
    assert (sign and sign.state) == state
    assert sign is None or sign.pushed


@pytest.mark.parametrize("ms", [None, 0, -5, 1e300])
def test_an_instant_that_cannot_be_is_unknown(ms: Any) -> None:
    """Clocks do not show it."""
    assert events.instant(ms) is None


@given(st.binary(max_size=200))
def test_garbage_says_nothing(body: bytes) -> None:
    """And raises nothing."""
    assert events.pushed(b'"exec' + body) is None
    for read in (events.history, events.queue, events.jobs, events.job):
        assert read(body) == []
