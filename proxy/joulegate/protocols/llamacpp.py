"""llama.cpp's native routes (tools/server/README.md of https://github.com/ggml-org/llama.cpp).

Bare ``/completions`` and ``/embeddings`` are native on llama.cpp and OpenAI's on some other servers; both
forms are read here, so that nothing is lost whichever server it is. Routes under ``/v1`` and the bare
``/chat/completions`` belong to ``protocols.openai``, which knows llama.cpp's ``timings`` too.

A native stream has no terminator: its last event says ``"stop":true``. Every event counts the tokens so
far, so that a stream that is cut off is still counted exactly.
"""

import re

from msgspec.structs import replace

from joulegate.framing import Found, Peek, PointerPeek
from joulegate.framing.values import decode, derived, fact, whole, word
from joulegate.model import Fact, Task, WorkClass
from joulegate.observing import Listener, Members
from joulegate.ports import About, Headers, Observer, Route

_INFERENCE = {
    "/completion": Route("native.completion", Task.TEXT_GENERATION),
    "/completions": Route("native.completion", Task.TEXT_GENERATION),
    "/infill": Route("native.infill", Task.TEXT_GENERATION),
    "/embedding": Route("native.embeddings", Task.EMBEDDINGS),
    "/embeddings": Route("native.embeddings", Task.EMBEDDINGS),
}
_ADMIN = Route("native.admin", work=WorkClass.ADMIN, reads_body=False)
_PROBE = Route("native.probe", work=WorkClass.PROBE, reads_body=False)
_LOAD = Route("native.load", work=WorkClass.MODEL_LOAD)
_CONTROL = {
    "/tokenize": _ADMIN,
    "/detokenize": _ADMIN,
    "/apply-template": _ADMIN,
    "/models/load": _LOAD,
    "/models/unload": _LOAD,
    "/lora-adapters": _ADMIN,
}
_READ = {
    "/health": _PROBE,
    "/v1/health": _PROBE,
    "/metrics": _PROBE,
    "/slots": _PROBE,
    "/props": _PROBE,
    "/lora-adapters": _ADMIN,
}
_PLACES = {
    "model": ("model",),
    "prompt_tokens": ("tokens_evaluated",),
    "completion_tokens": ("tokens_predicted",),
    "cached_prompt_tokens": ("timings", "cache_n"),
}
"""What is taken from the result of one of several prompts."""
_MOST = 64
"""Results that are looked into; of more than these nothing is known."""
_TEXT = re.compile(rb'"(?:content|text)"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
"""New text of an event; ``text`` where the server is not llama.cpp."""


class Plugin:
    """Knows the native routes of the llama.cpp server."""

    about = About(
        servers=("llama.cpp",),
        routes=("POST /embedding", "POST /embeddings", "POST /models/load", "GET /slots", "GET /props"),
        usage="`tokens_evaluated`, `tokens_predicted`, `timings`",
        streaming='events without `[DONE]`, the last with `"stop":true`',
        disconnect="stops, unless `X-Conversation-Id` asks it to go on",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if llama.cpp has none of its own there."""
        if method == "POST":
            slot = _ADMIN if path.startswith("/slots/") else None
            return _INFERENCE.get(path) or _CONTROL.get(path) or slot
        return _READ.get(path)

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return Native(headers, model=route.model)


class Native(Listener):
    """Listens to one native exchange."""

    wishes = frozenset({"model", "stream", "n_predict", "max_tokens", "n"})
    bounds = ("n_predict", "max_tokens")  # an ``n_predict`` of -1 is none
    wish_counts = frozenset({"prompt"})
    completed = (b'"stop":true',)
    answers = frozenset({"model", "usage", "timings", "tokens_predicted", "tokens_evaluated"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._before = b""
        self._event = b""
        self._find = _TEXT.findall

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Look into one result, and into each of a list of them, which answers a list of prompts.

        A list can also be one prompt of tokens: that has one result.
        """
        peek, places = super().answer_peek(media, headers), self._prompts()
        if peek is None or not 0 < places <= _MOST:
            return peek
        each = [
            (f"{place}.{name}", (str(place), *_PLACES[name])) for place in range(places) for name in _PLACES
        ]
        return PointerPeek({name: (name,) for name in self.answers} | dict(each))

    def document(self, found: Found) -> None:
        """Add up the results of several prompts; a count that one of them does not tell is not known."""
        results = [
            {name: found.members.get(f"{place}.{name}") for name in _PLACES}
            for place in range(min(self._prompts(), _MOST))
        ]
        if not results or results[0]["completion_tokens"] is None:
            return
        self.answer_model = word(results[0]["model"])
        sums = {name: _sum([result[name] for result in results]) for name in _PLACES.keys() - {"model"}}
        self.accounts.facts = replace(self.accounts.facts, choices=derived(len(results)), **sums)

    def _prompts(self) -> int:
        """Return how many elements the prompt has if it is a list; with several choices of each, none."""
        found = self.request_found()
        return found.counts.get("prompt", 0) if (whole(found.members.get("n")) or 1) == 1 else 0

    def event(self, data: bytes) -> int:
        """Accept one event; the newest one is kept, because it has the counts so far."""
        if data == b"[DONE]":
            return 0
        self._before, self._event = self._event, data
        if b'"usage"' in data:
            self.account(data)
        return sum(map(len, self._find(data)))

    def long_event(self, found: Found) -> None:
        """Accept an event that repeats a long prompt."""
        self._before = self._event = b""
        self.read_members(found.members)

    def repeats(self, head: bytes) -> bool:
        """Only the last event of a stream is long: it repeats the prompt."""
        del head
        return True

    def response_end(self, *, complete: bool) -> None:
        """Read the counts of the newest event that is not broken off."""
        super().response_end(complete=complete)
        newest = decode(self._event or b"null", Members)
        members = decode(self._before or b"null", Members) if newest is None else newest
        if members is not None:
            self.read_members({name: bytes(members[name]) for name in self.answers & members.keys()})

    def read_members(self, members: dict[str, bytes]) -> None:
        """Record the native counts too: tokens evaluated are those of the prompt, cached ones included."""
        super().read_members(members)
        native = {
            "prompt_tokens": fact(whole(members.get("tokens_evaluated"))),
            "completion_tokens": fact(whole(members.get("tokens_predicted"))),
        }
        known = {name: value for name, value in native.items() if value}
        self.accounts.facts = replace(self.accounts.facts, **known)


def _sum(values: list[bytes | None]) -> Fact | None:
    counts = [count for count in map(whole, values) if count is not None]
    return fact(sum(counts)) if len(counts) == len(values) else None
