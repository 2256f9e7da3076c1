"""ComfyUI: a graph is posted, accepted at once and worked on later, one after the other.

Sources: server.py, execution.py and comfy_execution/jobs.py of https://github.com/comfyanonymous/ComfyUI.
Every route also exists below ``/api``. The websocket tells only the client that submitted: it is heard as it
passes. Nobody else opens one, for a second socket with the same ``clientId`` takes the place of the first.
"""

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from msgspec import Raw, Struct

from joulegate.framing.values import decode
from joulegate.model import Asked, JobSign, JobState, Task, TaskFacts, WorkClass
from joulegate.observing import JobListener, KeptAnswer
from joulegate.ports import About, Headers, Observer, Route
from joulegate.protocols.comfyui import events
from joulegate.protocols.comfyui.graph import GraphNode, GraphReading, read
from joulegate.units import Nanoseconds

LARGEST_GRAPH = 512 << 10
"""Bytes of a prompt that is read; frontends send the whole workflow beside the graph."""
LARGEST_ANSWER = 8 << 20
"""Bytes of an answer that is read."""

_CREDENTIALS = frozenset({"auth_token_comfy_org", "api_key_comfy_org"})
"""``execution.SENSITIVE_EXTRA_DATA_KEYS``: what API nodes need."""
_PROMPT = Route("prompt", Task.IMAGE_GENERATION, dialect="plain")
_WEBSOCKET = Route("websocket", work=WorkClass.ADMIN, reads_body=False, dialect="plain")
_ADMIN = Route("admin", work=WorkClass.ADMIN, reads_body=False, dialect="plain")
_PROBE = Route("probe", work=WorkClass.PROBE, reads_body=False, dialect="plain")
_UNLOAD = Route("free", work=WorkClass.MODEL_LOAD, dialect="plain")
_JOBS = {
    name: Route(name, work=WorkClass.ADMIN, reads_body=False, dialect="plain")
    for name in ("history", "queue", "jobs", "job")
}
_READERS: dict[str, Callable[[bytes], list[JobSign]]] = {
    "history": events.history,
    "queue": events.queue,
    "jobs": events.jobs,
    "job": events.job,
}
_GET: tuple[tuple[re.Pattern[str], Route], ...] = tuple(
    (re.compile(pattern), route)
    for pattern, route in (
        (r"/ws", _WEBSOCKET),
        (r"/history(?:/[^/]+)?", _JOBS["history"]),
        (r"/queue", _JOBS["queue"]),
        (r"/api/jobs", _JOBS["jobs"]),
        (r"/api/jobs/[^/]+", _JOBS["job"]),
        (r"/prompt|/system_stats|/object_info(?:/[^/]+)?|/features", _PROBE),
        (r"/view|/view_metadata/[^/]+", _ADMIN),
    )
)
_POST: tuple[tuple[re.Pattern[str], Route], ...] = tuple(
    (re.compile(pattern), route)
    for pattern, route in (
        (r"/prompt", _PROMPT),
        (r"/free", _UNLOAD),
        (
            r"/queue|/interrupt|/history|/upload/(?:image|mask)|/api/jobs/cancel|/api/jobs/[^/]+/cancel",
            _ADMIN,
        ),
    )
)


class Prompt(Struct):
    """What matters of the body of ``POST /prompt``."""

    prompt: dict[str, GraphNode]
    extra_data: dict[str, Raw] = {}


class Accepted(Struct):
    """The answer to it."""

    prompt_id: str


class Submission(KeptAnswer):
    """``POST /prompt``: the request of the job."""

    largest = LARGEST_GRAPH

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._body: bytearray | None = bytearray()
        self._graph: GraphReading | None = None

    def request_body(self, chunk: bytes) -> None:
        """Keep the graph, if it is of a size that anyone draws."""
        self._graph = None
        if self._body is not None:
            self._body += chunk
            if len(self._body) > LARGEST_GRAPH:
                self._body = None

    def asked(self) -> Asked:
        """Return what the graph asks for."""
        return self._reading().asked

    def read(self, answer: bytes) -> None:
        """Accept the id of the job."""
        accepted = decode(answer, Accepted)
        if accepted is None or not accepted.prompt_id:
            return
        reading = self._reading()
        self.signs.append(
            JobSign(
                accepted.prompt_id,
                JobState.ACCEPTED,
                submitted=True,
                model=reading.asked.model,
                nodes=reading.nodes,
            )
        )

    def facts(self) -> TaskFacts:
        """Return the work that the graph describes."""
        return self._reading().facts if self.answered else TaskFacts()

    def _reading(self) -> GraphReading:
        if self._graph is None:
            found = decode(bytes(self._body), Prompt) if self._body is not None else None
            paid = found is not None and bool(_CREDENTIALS & found.extra_data.keys())
            self._graph = read(found.prompt if found else {}, paid=paid)
        return self._graph


class ComfyuiReport(KeptAnswer):
    """An answer that tells of jobs."""

    largest = LARGEST_ANSWER

    def __init__(self, headers: Headers, reader: Callable[[bytes], list[JobSign]]) -> None:
        super().__init__(headers)
        self._tells = reader

    def read(self, answer: bytes) -> None:
        """Accept all that it tells."""
        self.signs += self._tells(answer)


class Socket(JobListener):
    """The websocket: texts are events, binary messages are previews."""

    def message(self, t: Nanoseconds, data: bytes, *, text: bool, from_client: bool) -> None:
        """Accept one message."""
        del t
        if text and not from_client and (sign := events.pushed(data)) is not None:
            self.signs.append(sign)


class Plugin:
    """Knows ComfyUI's routes."""

    about = About(
        servers=("ComfyUI",),
        kinds=("comfyui",),
        routes=("POST /free", "POST /interrupt", "POST /queue", "GET /system_stats", "GET /view"),
        usage="graph: `ckpt_name`, latent `width`, `height`, `batch_size`, `length`, samplers' `steps`",
        jobs="passing websocket; else `GET /api/jobs/{id}`, or `GET /history/{id}` and `GET /queue`",
        disconnect="goes on; `POST /interrupt` stops it",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if the path is not ComfyUI's."""
        table = _POST if method == "POST" else _GET if method in ("GET", "HEAD") else ()
        for candidate in (path, path.removeprefix("/api")):
            for pattern, route in table:
                if pattern.fullmatch(candidate):
                    return route
        return None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        if route.name in _READERS:
            return ComfyuiReport(headers, _READERS[route.name])
        return {"prompt": Submission, "websocket": Socket}.get(route.name, JobListener)(headers)

    def inquiries(self, path: str, job: str) -> Sequence[str]:
        """Return the jobs API, and for servers from before it (2025) the history and the queue."""
        stem = path.removesuffix("/prompt").removesuffix("/api")
        id_ = quote(job, safe="")
        return (f"{stem}/api/jobs/{id_}", f"{stem}/history/{id_}", f"{stem}/queue")
