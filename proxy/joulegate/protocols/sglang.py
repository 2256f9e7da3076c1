"""SGLang's own routes (https://github.com/sgl-project/sglang, python/sglang/srt/entrypoints/http_server.py).

Every answer, and every event of a stream, has ``meta_info`` with the counts so far. A list of prompts, and
``n`` above one, give a list of answers, or events that say with ``index`` which answer goes on. The text of
an event is the whole text so far, unless the server was told otherwise. LMDeploy answers ``/generate`` alike,
with new text only.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from joulegate.framing import Found, JsonPeek, Peek, PointerPeek
from joulegate.framing.values import count, decode, derived, seconds, whole
from joulegate.model import Fact, FactSource, ServerTimings, Task, TaskFacts, WorkClass
from joulegate.observing import Listener, Members
from joulegate.ports import About, Headers, Observer, Route

_GENERATE = Route("sglang.generate", Task.TEXT_GENERATION, dialect="plain")
_VERTEX = Route("sglang.vertex", Task.TEXT_GENERATION, dialect="plain")
_ENCODE = Route("sglang.encode", Task.EMBEDDINGS, dialect="plain")
_CLASSIFY = Route("sglang.classify", Task.TEXT_CLASSIFICATION, dialect="plain")
_SELF_TEST = Route("sglang.self_test", work=WorkClass.SELF_TEST, reads_body=False, dialect="plain")
_LOAD = Route("sglang.load", work=WorkClass.MODEL_LOAD, reads_body=False, dialect="plain")
_ADMIN = Route("sglang.admin", work=WorkClass.ADMIN, reads_body=False, dialect="plain")
_PROBE = Route("sglang.probe", work=WorkClass.PROBE, reads_body=False, dialect="plain")
_WORK = {"/generate": _GENERATE, "/encode": _ENCODE, "/classify": _CLASSIFY, "/vertex_generate": _VERTEX}
_READ = frozenset({
    "/get_model_info", "/model_info", "/get_server_info", "/server_info", "/v1/loads", "/get_load",
    "/list_external_corpora",
})  # fmt: skip
_LOADS = re.compile(
    r"/(?:(?:un)?load_lora_adapter\w*|update_weights_\w+|(?:release|resume)_memory_occupation)"
)
_CONTROL = frozenset({
    "/abort_request", "/configure_logging", "/open_session", "/close_session", "/pause_generation",
    "/continue_generation", "/set_internal_state", "/slow_down", "/parse_function_call",
    "/separate_reasoning", "/freeze_gc", "/set_trace_level",
})  # fmt: skip

_FIELDS = (
    "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "queue_time",
    "forward_entry_time", "prefill_finished_time", "request_finished_ts",
)  # fmt: skip
_MOST = 64
"""Answers of one request that are told apart; the counts of more are unknown."""
_OPEN = re.compile(rb'"text"\s*:\s*"')
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_INDEX = re.compile(rb'"index"\s*:\s*(\d{1,6})')


class Plugin:
    """Knows SGLang's own routes; ``/generate`` by POST and by PUT."""

    about = About(
        servers=("SGLang", "LMDeploy"),
        kinds=("sglang", "lmdeploy"),
        routes=(
            "PUT /generate", "POST /vertex_generate", "POST /abort_request",
            "POST /update_weights_from_disk", "GET /get_model_info",
        ),
        usage="`meta_info.{prompt_tokens,completion_tokens,cached_tokens,reasoning_tokens}`; with metrics "
        "`queue_time` and times of the phases",
        streaming="events with the whole text and the counts so far, then `[DONE]`",
        disconnect="stops",
    )  # fmt: skip

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if SGLang has none of its own there."""
        if method in ("POST", "PUT") and path in _WORK:
            return _WORK[path]
        if path == "/health_generate":
            return _SELF_TEST
        if method == "GET" and path in _READ:
            return _PROBE
        return _ADMIN if path in _CONTROL else _LOAD if _LOADS.fullmatch(path) else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        kinds: dict[str, type[Listener]] = {
            _GENERATE.name: SglangGeneration, _VERTEX.name: Predictions,
            _ENCODE.name: Encoding, _CLASSIFY.name: Encoding,
        }  # fmt: skip
        return kinds.get(route.name, Listener)(headers, model=route.model)


class SglangGeneration(Listener):
    """Listens to one exchange of ``/generate``."""

    wishes = frozenset({
        "stream", "input_ids.0", "sampling_params.n", "sampling_params.max_new_tokens", "max_tokens",
    })  # fmt: skip
    bounds = ("sampling_params.max_new_tokens", "max_tokens")
    wish_counts = frozenset({"text", "input_ids"})
    answers = frozenset({"index", *(f"meta_info.{field}" for field in _FIELDS)})
    place: tuple[str, ...] = ()
    """Where in a document the list of answers stands."""

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._counts: dict[int, Mapping[str, Any]] = {}
        """What is known of each answer."""
        self._newest: dict[int, tuple[bytes, bytes]] = {}
        """The newest two events of each answer: the last one may be broken off."""
        self._texts: dict[int, bytes] = {}
        self._repeating = True
        """Each event repeats the text so far."""
        self._lost = False

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Look into one answer, or into each of a list."""
        if super().answer_peek(media, headers) is None:
            return None
        answers = self._answers()
        if answers is None:
            return JsonPeek(self.answers)
        fields = ((place, field) for place in range(min(answers, _MOST)) for field in _FIELDS)
        self._lost = answers > _MOST
        return PointerPeek(
            {f"{place}.{field}": (*self.place, str(place), "meta_info", field) for place, field in fields}
        )

    def event(self, data: bytes) -> int:
        """Accept one event; it is decoded only when no newer one of its answer follows."""
        if data == b"[DONE]" or b'"meta_info"' not in data:
            return 0
        at = data.rfind(b'"index"')
        match = _INDEX.match(data, at) if at >= 0 else None
        index = int(match[1]) if match else 0
        if index >= _MOST:
            self._lost = True
            return len(data)
        self._newest[index] = (self._newest.get(index, (b"", b""))[1], data)
        return self._grown(index, data)

    def long_event(self, found: Found) -> None:
        """Accept an event too long to be decoded."""
        index = whole(found.members.get("index")) or 0
        self._newest.pop(index, None)
        self._note(index, {name[10:]: raw for name, raw in found.members.items() if name != "index"})

    def repeats(self, head: bytes) -> bool:
        """A long event has mostly what was sent before."""
        del head
        return True

    def read_members(self, members: dict[str, bytes]) -> None:
        """Record what a document says of its answers."""
        for name, raw in members.items():
            place, _, field = name.partition(".")
            self._note(int(place) if place.isdecimal() else 0, {field: raw})

    def response_end(self, *, complete: bool) -> None:
        """Read the counts in the newest whole event of each answer."""
        super().response_end(complete=complete)
        for index, (before, newest) in self._newest.items():
            members = decode(newest, Members) or decode(before or b"null", Members) or {}
            self._note(index, decode(members.get("meta_info", Raw(b"null")), Members) or {})

    def facts(self) -> TaskFacts:
        """Return the work done: a prompt counts once, however many answers it got."""
        if self._lost or not self._counts:
            return self.accounts.facts
        several = self._answers() is not None
        firsts = [known for index, known in sorted(self._counts.items()) if index % self._choices() == 0]
        facts = replace(
            self.accounts.facts,
            prompt_tokens=_sum(firsts, "prompt_tokens", several=several),
            completion_tokens=_sum(list(self._counts.values()), "completion_tokens", several=several),
            reasoning_tokens=_sum(list(self._counts.values()), "reasoning_tokens", several=several),
            choices=derived(len(self._counts)),
        )
        # Before it makes several answers of one prompt, SGLang works on the prompt out of sight.
        cached = _sum(firsts, "cached_tokens", several=several) if self._choices() == 1 else None
        return replace(facts, cached_prompt_tokens=cached)

    def timings(self) -> ServerTimings:
        """Return the durations of a single answer."""
        return _timings(self._counts[0]) if len(self._counts) == 1 and 0 in self._counts else ServerTimings()

    def _note(self, index: int, meta: Mapping[str, "bytes | Raw"]) -> None:
        known = {field: decode(meta[field], Any) for field in _FIELDS if field in meta}
        if known:
            self._counts[index] = {**self._counts.get(index, {}), **known}

    def _grown(self, index: int, data: bytes) -> int:
        """Return the length of the text that is new in this event."""
        opening = _OPEN.search(data)
        if not opening:
            return len(data)
        start, before = opening.end(), self._texts.get(index, b"")
        self._repeating = self._repeating and data.startswith(before, start)
        known = len(before) if self._repeating else 0
        rest = _TEXT.match(data, start + known)
        end = rest.end() if rest else start + known
        self._texts[index] = data[start:end]
        return end - start - known

    def _choices(self) -> int:
        return max(whole(self.request_found().members.get("sampling_params.n")) or 1, 1)

    def _answers(self) -> int | None:
        """Return how many answers the request gets; ``None`` if it gets one that stands in no list."""
        found = self.request_found()
        prompts = found.counts.get("text")
        if prompts is None and "input_ids" in found.counts and _is_list(found.members.get("input_ids.0")):
            prompts = found.counts["input_ids"]
        choices = self._choices()
        return None if prompts is None and choices == 1 else (prompts or 1) * choices


class Predictions(SglangGeneration):
    """``/vertex_generate``: the prompts are ``instances``, the answers ``predictions``."""

    wishes = frozenset({"parameters.stream"})
    wish_counts = frozenset({"instances"})
    place = ("predictions",)

    def _answers(self) -> int | None:
        return self.request_found().counts.get("instances", 1)


class Encoding(SglangGeneration):
    """``/encode`` and ``/classify``: all the work is in the prompt."""

    def facts(self) -> TaskFacts:
        """Return the tokens read."""
        facts = replace(super().facts(), choices=None)
        return replace(facts, completion_tokens=derived(0)) if self.answered else facts


def _is_list(first: bytes | None) -> bool:
    """Whether the first of the input ids is a list of them; one too long to be kept is no number."""
    return first is None or first.startswith(b"[")


def _sum(known: Sequence[Mapping[str, Any]], field: str, *, several: bool) -> Fact | None:
    counts = [tokens for one in known if (tokens := count(one.get(field))) is not None]
    if not counts or len(counts) < len(known):
        return None
    return Fact(sum(counts), FactSource.DERIVED if several else FactSource.REPORTED)


def _timings(meta: Mapping[str, Any]) -> ServerTimings:
    """Return what was measured; ``forward_entry_time`` and the ends of the phases are wall clock in s."""
    begun, prefilled, ended = (meta.get(field) for field in _FIELDS[-3:])
    return ServerTimings(
        queue=seconds(meta.get("queue_time")),
        prefill=seconds(_between(begun, prefilled)),
        decode=seconds(_between(prefilled, ended)),
    )


def _between(start: object, end: object) -> float | None:
    return end - start if isinstance(start, float) and isinstance(end, float) else None
