"""How many requests a server works on, as far as it says so itself. Pure.

Read only for a short time after a client has left, to see that its request ends too. The servers' own gauges:
llama.cpp's ``/slots``, the Prometheus pages of vLLM and TGI, SGLang's ``/get_load``, AUTOMATIC1111's
``/progress``, KoboldCpp's ``/api/extra/perf``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from joulegate.gateway.http.call import ServerAnswer
from joulegate.model import ServerKind

ReadLoad = Callable[[ServerAnswer], int | None]

PROGRESS = "/sdapi/v1/progress?skip_current_image=true"


def gauge(kind: str) -> tuple[str, ReadLoad] | None:
    """Return the path to ask and what reads the answer; ``None`` for a server that does not say."""
    return _GAUGES.get(kind)


def document(answer: ServerAnswer) -> Any:
    """Return the JSON of a good answer, or ``None``."""
    if answer.status != 200:
        return None
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _slots(answer: ServerAnswer) -> int | None:
    slots = document(answer)
    if not isinstance(slots, list):
        return None
    return sum(isinstance(slot, dict) and slot.get("is_processing") is True for slot in slots)


def _loads(answer: ServerAnswer) -> int | None:
    loads = document(answer)
    rows = loads if isinstance(loads, list) else [loads]
    counts = [row.get("num_reqs") for row in rows if isinstance(row, dict)]
    known = [count for count in counts if isinstance(count, int) and count >= 0]
    return sum(known) if known else None


def _progress(answer: ServerAnswer) -> int | None:
    members = document(answer)
    state = members.get("state") if isinstance(members, dict) else None
    jobs = state.get("job_count") if isinstance(state, dict) else None
    return None if not isinstance(jobs, int) else int(jobs > 0)


def _perf(answer: ServerAnswer) -> int | None:
    members = document(answer)
    if not isinstance(members, dict) or "idle" not in members:
        return None
    queue = members.get("queue")
    waiting = queue if isinstance(queue, int) else 0
    return max(waiting, int(not members["idle"]))


def _page(*names: bytes) -> ReadLoad:
    """Return what adds up samples of a Prometheus page; ``None`` if the first of the names is missing."""
    # Each pattern begins with the name, so that the rest of a long page is passed at the speed of a search.
    patterns = [re.compile(re.escape(name) + rb"(?:\{[^\n]*\})?[ \t]+([^ \t\r\n]+)") for name in names]

    def read(answer: ServerAnswer) -> int | None:
        found = [_samples(pattern, answer.body) for pattern in patterns] if answer.status == 200 else [[]]
        return round(sum(map(sum, found))) if found[0] else None

    return read


def _samples(pattern: re.Pattern[bytes], page: bytes) -> list[float]:
    """Return the values of a family; what stands within a line is a part of another word."""
    matches = (
        match for match in pattern.finditer(page) if match.start() == 0 or page[match.start() - 1] == 10
    )
    return [value for match in matches if 0 <= (value := _number(match[1])) < _ABSURD]


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


_ABSURD = 1e9
_GAUGES: Mapping[str, tuple[str, ReadLoad]] = {
    ServerKind.LLAMACPP: ("/slots", _slots),
    ServerKind.VLLM: ("/metrics", _page(b"vllm:num_requests_running", b"vllm:num_requests_waiting")),
    ServerKind.TGI: ("/metrics", _page(b"tgi_batch_current_size", b"tgi_queue_size")),
    ServerKind.SGLANG: ("/get_load", _loads),
    ServerKind.A1111: (PROGRESS, _progress),
    ServerKind.KOBOLDCPP: ("/api/extra/perf", _perf),
}
