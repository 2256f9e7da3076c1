"""Listens to the jobs of the family: videos, batches, and responses in the background.

What accepts a job, asks after it, lists or cancels it answers with the same object; its ``status`` says how
the job is. Times are whole seconds. Only a batch says when its work began.
Source: the types ``Video``, ``Batch`` and ``Response`` of https://github.com/openai/openai-python 3.3.1.
"""

from collections.abc import Mapping

from msgspec import Raw

from joulegate.framing import Found, UsageReader
from joulegate.framing.values import area, decode, derived, whole, word
from joulegate.model import Asked, JobSign, JobState, Task, TaskFacts
from joulegate.observing import JobListener, KeptAnswer, Listener
from joulegate.units import NANO, Nanoseconds

LARGEST_LIST = 2 << 20
"""Bytes of a list of jobs that is read."""

_STATES = {
    "queued": JobState.ACCEPTED,
    "validating": JobState.ACCEPTED,
    "in_progress": JobState.RUNNING,
    "finalizing": JobState.RUNNING,
    "cancelling": JobState.RUNNING,
    "completed": JobState.DONE,
    "incomplete": JobState.DONE,
    "failed": JobState.FAILED,
    "expired": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}
_ENDS = ("completed_at", "failed_at", "cancelled_at", "expired_at")
_TASKS = {
    "/v1/chat/completions": Task.CHAT,
    "/v1/responses": Task.CHAT,
    "/v1/completions": Task.TEXT_GENERATION,
    "/v1/embeddings": Task.EMBEDDINGS,
    "/v1/moderations": Task.MODERATION,
    "/v1/images/generations": Task.IMAGE_GENERATION,
    "/v1/images/edits": Task.IMAGE_EDIT,
    "/v1/videos": Task.VIDEO_GENERATION,
}
"""Of a batch, by the endpoint that its lines are for."""
MEMBERS = frozenset({"id", "status", "model", "usage", "in_progress_at", *_ENDS})


def sign(members: Mapping[str, bytes | Raw], *, submitted: bool = False) -> JobSign | None:
    """Read one object; ``None`` if it is no job, or in a state that nobody knows."""
    id_, state = word(members.get("id")), _STATES.get(word(members.get("status")) or "")
    if id_ is None or state is None:
        return None
    accounts = UsageReader()
    accounts.usage(members.get("usage"))
    over = state.outcome is not None
    return JobSign(
        id_,
        state,
        submitted=submitted,
        began=_instant(members.get("in_progress_at")),
        ended=next((t for name in _ENDS if (t := _instant(members.get(name)))), None) if over else None,
        grain=Nanoseconds(NANO),
        facts=accounts.facts,
        model=word(members.get("model")),
    )


class Stored(JobListener):
    """An answer that is one job, of whoever asks."""

    answers = MEMBERS
    submits = False

    def document(self, found: Found) -> None:
        """Accept the job."""
        if (one := sign(found.members, submitted=self.submits)) is not None:
            self.signs.append(one)

    def facts(self) -> TaskFacts:
        """Return nothing: the work is the job's, not that of who asks after it."""
        return TaskFacts()


class ListedJobs(KeptAnswer):
    """An answer that lists jobs."""

    largest = LARGEST_LIST

    def read(self, answer: bytes) -> None:
        """Accept each of them."""
        listed = decode(answer, dict[str, Raw])
        jobs = decode(listed["data"], list[dict[str, Raw]]) if listed and "data" in listed else None
        self.signs += [one for members in jobs or () if (one := sign(members)) is not None]


_CLIP = frozenset({
    "model", "size", "width", "height", "num_frames", "num_inference_steps", "seconds", "fps",
})  # fmt: skip


class Video(Stored):
    """``POST /videos``, and what makes another video of one."""

    wishes = _CLIP
    submits = True

    def wish(self, found: Found) -> Asked:
        """Return model, size and steps."""
        return _clip(found)

    def facts(self) -> TaskFacts:
        """Return the work that was accepted."""
        return _frames(self.request_found(), self.asked()) if self.answered else TaskFacts()


class Clip(Listener):
    """A video that its answer waits for: at vLLM-Omni ``/videos/sync``, at TensorRT-LLM the other."""

    wishes = _CLIP

    def wish(self, found: Found) -> Asked:
        """Return model, size and steps."""
        return _clip(found)

    def facts(self) -> TaskFacts:
        """Return the work that was done."""
        return _frames(self.request_found(), self.asked()) if self.answered else TaskFacts()


class OpenAIBatch(Stored):
    """``POST /batches``: many requests as one job."""

    wishes = frozenset({"endpoint"})
    submits = True

    def wish(self, found: Found) -> Asked:
        """Return the task of its lines."""
        return Asked(task=_TASKS.get(word(found.members.get("endpoint")) or ""))


def _clip(found: Found) -> Asked:
    members = found.members
    sides = whole(members.get("width")), whole(members.get("height"))
    width, height = area(members.get("size")) or sides
    steps = whole(members.get("num_inference_steps"))
    return Asked(model=word(members.get("model")), width=width, height=height, steps=steps)


def _frames(found: Found, asked: Asked) -> TaskFacts:
    """Return the frames that were asked for, each of so many pixels."""
    members = found.members
    seconds, fps = whole(members.get("seconds")), whole(members.get("fps"))
    frames = whole(members.get("num_frames")) or (seconds * fps if seconds and fps else None)
    pixels = asked.width * asked.height if asked.width and asked.height else None
    return TaskFacts(frames=derived(frames), pixels=derived(pixels), steps=derived(asked.steps))


def _instant(raw: bytes | Raw | None) -> Nanoseconds | None:
    """Accept a time in s since 1970."""
    value = decode(raw, float) if raw is not None else None
    return Nanoseconds(int(value) * NANO) if value is not None and 0 < value < 10**11 else None
