"""What ComfyUI says of its jobs: over the websocket, in the history, in the queue, in the jobs API.

Sources: ``PromptExecutor`` in execution.py, ``PromptServer`` in server.py and comfy_execution/jobs.py of
https://github.com/comfyanonymous/ComfyUI. Times are the server's, in ms; servers before 2024 tell none.
"""

from msgspec import Raw, Struct

from joulegate.framing.values import decode
from joulegate.model import JobSign, JobState
from joulegate.units import Nanoseconds

Messages = list[tuple[str, Raw]]

_ENDS = {
    "execution_success": JobState.DONE,
    "execution_error": JobState.FAILED,
    "execution_interrupted": JobState.CANCELLED,
}
_STATES = {
    "pending": JobState.ACCEPTED,
    "in_progress": JobState.RUNNING,
    "completed": JobState.DONE,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}
_FARTHEST = 10**14
"""ms: no clock shows more."""


class PromptEvent(Struct):
    """The data of a message about a prompt."""

    prompt_id: str = ""
    timestamp: int | float | None = None
    node: str | None = None
    nodes: list[str] = []


class Status(Struct):
    """How an entry of the history ended."""

    status_str: str | None = None
    messages: Messages = []


class HistoryEntry(Struct):
    """An entry of the history."""

    status: Status | None = None


class ComfyuiJob(Struct):
    """An answer of the jobs API."""

    id: str
    status: str = ""
    execution_start_time: int | float | None = None
    execution_end_time: int | float | None = None
    execution_status: Status | None = None


class JobList(Struct):
    """The list of jobs."""

    jobs: list[ComfyuiJob] = []


class Queue(Struct):
    """``GET /queue``: items are lists of number, id, graph and more."""

    queue_running: list[list[Raw]] = []
    queue_pending: list[list[Raw]] = []


class ComfyuiEvent(Struct):
    """A message of the websocket."""

    type: str
    data: Raw


def pushed(text: bytes) -> JobSign | None:
    """Read a message of the websocket; most say nothing of when a job runs."""
    if b'"exec' not in text:
        return None
    event = decode(text, ComfyuiEvent)
    told = decode(event.data, PromptEvent) if event else None
    if event is None or told is None or not told.prompt_id:
        return None
    if event.type == "executing":
        state = JobState.RUNNING if told.node is not None else JobState.DONE
        return JobSign(told.prompt_id, state, pushed=True, node=told.node and told.node[:64])
    t = instant(told.timestamp)
    if event.type in _ENDS:
        return JobSign(told.prompt_id, _ENDS[event.type], pushed=True, ended=t)
    if event.type == "execution_start":
        return JobSign(told.prompt_id, JobState.RUNNING, pushed=True, began=t)
    if event.type == "execution_cached":
        return JobSign(told.prompt_id, JobState.RUNNING, pushed=True, skipped=_names(told.nodes))
    return None


def history(body: bytes) -> list[JobSign]:
    """Read ``GET /history`` and ``GET /history/{id}``: only what has ended is there."""
    entries = decode(body, dict[str, HistoryEntry]) or {}
    return [_ended(id_, entry.status) for id_, entry in entries.items() if entry.status]


def queue(body: bytes) -> list[JobSign]:
    """Read ``GET /queue``."""
    found = decode(body, Queue)
    if found is None:
        return []
    states = ((found.queue_running, JobState.RUNNING), (found.queue_pending, JobState.ACCEPTED))
    ids = ((_id(item), state) for items, state in states for item in items)
    return [JobSign(id_, state) for id_, state in ids if id_]


def jobs(body: bytes) -> list[JobSign]:
    """Read ``GET /api/jobs``."""
    listed = decode(body, JobList)
    return [sign for one in listed.jobs if (sign := _job(one))] if listed else []


def job(body: bytes) -> list[JobSign]:
    """Read ``GET /api/jobs/{id}``."""
    one = decode(body, ComfyuiJob)
    sign = _job(one) if one else None
    return [sign] if sign else []


def instant(ms: float | None) -> Nanoseconds | None:
    """Accept a time in ms since 1970."""
    return Nanoseconds(int(ms) * 1_000_000) if ms is not None and 0 < ms < _FARTHEST else None


def _job(one: ComfyuiJob) -> JobSign | None:
    state = _STATES.get(one.status)
    if state is None or not one.id:
        return None
    if state.outcome is None:
        return JobSign(one.id, state)
    sign = _ended(one.id, one.execution_status or Status())
    return JobSign(
        one.id,
        state,
        began=instant(one.execution_start_time) or sign.began,
        ended=instant(one.execution_end_time) or sign.ended,
        skipped=sign.skipped,
    )


def _ended(id_: str, status: Status) -> JobSign:
    """Read the messages of a job that is over: they are those of the websocket, with their times."""
    state = JobState.FAILED if status.status_str == "error" else JobState.DONE
    began = ended = None
    skipped: tuple[str, ...] = ()
    for kind, data in status.messages:
        told = decode(data, PromptEvent) or PromptEvent()
        if kind == "execution_start":
            began = instant(told.timestamp)
        elif kind == "execution_cached":
            skipped = _names(told.nodes)
        elif kind in _ENDS:
            state, ended = _ENDS[kind], instant(told.timestamp)
    return JobSign(id_, state, began=began, ended=ended, skipped=skipped)


def _id(item: list[Raw]) -> str | None:
    return decode(item[1], str) if len(item) > 1 else None


def _names(nodes: list[str]) -> tuple[str, ...]:
    return tuple(name[:64] for name in nodes)
