"""InvokeAI: batches of graphs are enqueued; each item of the queue is a job.

Source: invokeai/app/api/routers/session_queue.py and services/session_queue/session_queue_common.py of
https://github.com/invoke-ai/InvokeAI 6.14. Items have numbers, so a job is named by its queue and number.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec import Raw, Struct

from joulegate.framing.values import count, decode
from joulegate.model import Asked, JobSign, JobState, Task, Work, WorkClass
from joulegate.observing import JobListener, KeptAnswer
from joulegate.ports import About, Headers, Observer, Route
from joulegate.units import Nanoseconds

LARGEST = 4 << 20
"""Bytes of a batch that is read."""
MOST_ITEMS = 1_000
"""Items of one batch that are told apart."""
_ENQUEUE = Route("enqueue", work=WorkClass.ADMIN, dialect="plain")
_ITEM = Route("item", work=WorkClass.ADMIN, reads_body=False, dialect="plain")
_QUEUE = Route("queue", work=WorkClass.ADMIN, reads_body=False, dialect="plain")
_PROBE = Route("probe", work=WorkClass.PROBE, reads_body=False, dialect="plain")
_PATH = re.compile(r"/api/v1/queue/(?P<queue>[^/]+)/(?P<rest>.+)")
_ONE = re.compile(r"i/\d+(?:/cancel)?|current|next")
_STATES = {
    "pending": JobState.ACCEPTED,
    "waiting": JobState.ACCEPTED,
    "in_progress": JobState.RUNNING,
    "completed": JobState.DONE,
    "failed": JobState.FAILED,
    "canceled": JobState.CANCELLED,
}


class _Graph(Struct, frozen=True):
    nodes: dict[str, dict[str, Raw]] = {}


class _Batch(Struct, frozen=True):
    graph: _Graph = _Graph()


class _Wish(Struct, frozen=True):
    batch: _Batch = _Batch()


class _Enqueued(Struct):
    queue_id: str
    item_ids: list[int] = []


class Item(Struct):
    """An item of the queue."""

    item_id: int
    queue_id: str
    status: str
    started_at: str | None = None
    completed_at: str | None = None


class Enqueue(KeptAnswer):
    """``enqueue_batch``: each item of the batch is a request of its own."""

    def __init__(self, headers: Headers) -> None:
        super().__init__(headers)
        self._body = b""

    def request_body(self, chunk: bytes) -> None:
        """Keep the batch."""
        if len(self._body) <= LARGEST:
            self._body += chunk

    def read(self, answer: bytes) -> None:
        """Accept the numbers of the items."""
        enqueued = decode(answer, _Enqueued)
        if enqueued is None:
            return
        wish = decode(self._body, _Wish)
        work = Work(Task.IMAGE_GENERATION, asked(wish.batch.graph.nodes if wish else {}))
        self.signs += [
            JobSign(f"{enqueued.queue_id}:{number}", JobState.ACCEPTED, work=work)
            for number in enqueued.item_ids[:MOST_ITEMS]
        ]


class InvokeaiReport(KeptAnswer):
    """An answer that is an item, its graph beside it."""

    def read(self, answer: bytes) -> None:
        """Accept it."""
        item = decode(answer, Item)
        state = _STATES.get(item.status) if item else None
        if item is not None and state is not None:
            self.signs.append(
                JobSign(
                    f"{item.queue_id}:{item.item_id}",
                    state,
                    began=instant(item.started_at),
                    ended=instant(item.completed_at),
                )
            )


class Plugin:
    """Knows the routes of the session queue."""

    about = About(
        servers=("InvokeAI",),
        kinds=("invokeai",),
        routes=("GET /api/v1/queue/default/status", "PUT /api/v1/queue/default/clear"),
        usage="graph: `model.name`, `width`, `height`, `steps`, `num_steps`",
        jobs="`GET /api/v1/queue/{queue}/i/{item}`: `started_at`, `completed_at`; one record for each item",
        disconnect="goes on; `PUT …/i/{item}/cancel` stops it",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if the path is not of the queue."""
        if path == "/api/v1/app/version":
            return _PROBE
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        if method == "POST" and found["rest"] == "enqueue_batch":
            return _ENQUEUE
        return _ITEM if _ONE.fullmatch(found["rest"]) and method in ("GET", "PUT") else _QUEUE

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        kinds: dict[str, type[JobListener]] = {"enqueue": Enqueue, "item": InvokeaiReport}
        return kinds.get(route.name, JobListener)(headers)

    def inquiries(self, path: str, job: str) -> Sequence[str]:
        """Return the item's own address."""
        return (f"{path.removesuffix('/enqueue_batch')}/i/{quote(job.rpartition(':')[2], safe='')}",)


def asked(nodes: dict[str, dict[str, Raw]]) -> Asked:
    """Return what a graph asks for: the first model, the largest size, the steps of all denoisers."""
    names = [name for node in nodes.values() if (name := _model(node))]
    sizes = [size for node in nodes.values() if (size := _size(node))]
    steps = [number for node in nodes.values() if (number := _steps(node))]
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(None, None))
    return Asked(
        model=names[0] if names else None,
        width=width,
        height=height,
        steps=sum(steps) if steps else None,
        images=1,
    )


def instant(text: str | None) -> Nanoseconds | None:
    """Accept a time as SQLite or JSON writes it; without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    when = when.replace(tzinfo=when.tzinfo or UTC)
    return Nanoseconds(round(when.timestamp() * 1_000) * 1_000_000) if when.year > 1970 else None


def _model(node: dict[str, Raw]) -> str | None:
    model = decode(node["model"], dict[str, Raw]) if "model" in node else None
    return decode(model["name"], str) if model and "name" in model else None


def _size(node: dict[str, Raw]) -> tuple[int, int] | None:
    sides = [count(decode(node[side], int)) if side in node else None for side in ("width", "height")]
    return (sides[0], sides[1]) if sides[0] and sides[1] else None


def _steps(node: dict[str, Raw]) -> int | None:
    raw = node.get("steps", node.get("num_steps"))
    return count(decode(raw, int)) if raw is not None else None
