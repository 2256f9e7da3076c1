"""stable-diffusion.cpp's own routes: jobs that one worker does one after the other.

Source: examples/server/{api.md,async_jobs.cpp,routes_sdcpp.cpp} of
https://github.com/leejet/stable-diffusion.cpp at 97d2990. Times are whole seconds. Its OpenAI and A1111
routes are those protocols'.
"""

import re
from collections.abc import Sequence
from urllib.parse import quote

from joulegate.framing import Found
from joulegate.framing.values import decode, derived, fact, whole, word
from joulegate.model import Asked, JobSign, JobState, Task, TaskFacts, WorkClass
from joulegate.observing import JobListener
from joulegate.ports import About, Headers, Observer, Route
from joulegate.units import NANO, Nanoseconds

_SUBMIT = {
    "/sdcpp/v1/img_gen": Route("img_gen", Task.IMAGE_GENERATION, dialect="plain"),
    "/sdcpp/v1/vid_gen": Route("vid_gen", Task.VIDEO_GENERATION, dialect="plain"),
}
_JOB = Route("job", work=WorkClass.ADMIN, reads_body=False, dialect="plain")
_PROBE = Route("capabilities", work=WorkClass.PROBE, reads_body=False, dialect="plain")
_JOBS = re.compile(r"/sdcpp/v1/jobs/[A-Za-z0-9_-]+(/cancel)?")
_STATES = {
    "queued": JobState.ACCEPTED,
    "generating": JobState.RUNNING,
    "completed": JobState.DONE,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}


class SdcppJob(JobListener):
    """An answer that is a job; pictures in it are passed over."""

    wishes = frozenset({"width", "height", "batch_count", "video_frames", "sample_params.sample_steps"})
    answers = frozenset({"id", "status", "started", "completed", "result.frame_count"})
    answer_counts = frozenset({"result.images"})

    def __init__(self, headers: Headers, *, submits: bool) -> None:
        super().__init__(headers)
        self._submits = submits

    def wish(self, found: Found) -> Asked:
        """Return size, steps and number of images."""
        members = found.members
        return Asked(
            width=whole(members.get("width")),
            height=whole(members.get("height")),
            steps=whole(members.get("sample_params.sample_steps")),
            images=whole(members.get("batch_count")),
        )

    def document(self, found: Found) -> None:
        """Accept the job."""
        members = found.members
        id_, state = word(members.get("id")), _STATES.get(word(members.get("status")) or "")
        if id_ is None or state is None:
            return
        facts = TaskFacts(
            images=fact(found.counts.get("result.images") or None),
            frames=fact(whole(members.get("result.frame_count"))),
        )
        self.signs.append(
            JobSign(
                id_,
                state,
                submitted=self._submits,
                began=_instant(members.get("started")),
                ended=_instant(members.get("completed")),
                grain=Nanoseconds(NANO),
                facts=facts,
            )
        )

    def facts(self) -> TaskFacts:
        """Return the work that was accepted, where this answer accepts it."""
        if not (self._submits and self.answered):
            return TaskFacts()
        asked = self.asked()
        frames = whole(self.request_found().members.get("video_frames"))
        size = asked.width * asked.height if asked.width and asked.height else None
        return TaskFacts(
            images=derived(asked.images),
            pixels=derived(size * (asked.images or 1) if size else None),
            steps=derived(asked.steps),
            frames=derived(frames),
        )


class Plugin:
    """Knows the routes below ``/sdcpp/v1``."""

    about = About(
        servers=("stable-diffusion.cpp",),
        kinds=("sdcpp",),
        usage="request: `width`, `height`, `batch_count`, `video_frames`, `sample_params.sample_steps`",
        jobs="`GET /sdcpp/v1/jobs/{id}`: `started`, `completed`",
        disconnect="goes on; only a queued job can be cancelled",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if the path is not one of these."""
        if method == "POST" and path in _SUBMIT:
            return _SUBMIT[path]
        if path == "/sdcpp/v1/capabilities":
            return _PROBE
        found = _JOBS.fullmatch(path)
        return _JOB if found and method == ("POST" if found[1] else "GET") else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return JobListener(headers) if route is _PROBE else SdcppJob(headers, submits=route is not _JOB)

    def inquiries(self, path: str, job: str) -> Sequence[str]:
        """Return the job's own address."""
        return (f"{path.rpartition('/')[0]}/jobs/{quote(job, safe='')}",)


def _instant(raw: bytes | None) -> Nanoseconds | None:
    """Accept a time in s since 1970."""
    value = decode(raw, int) if raw is not None else None
    return Nanoseconds(value * NANO) if value is not None and 0 < value < 10**11 else None
