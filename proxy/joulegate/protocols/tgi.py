"""Text Generation Inference (https://github.com/huggingface/text-generation-inference, router/src/server.rs).

An answer that is no stream tells its counts in the head. A stream tells them in the ``details`` of its last
event; there is no ``[DONE]``, and every event before it is one token, so that a stream that is cut off is
counted too. ``best_of`` makes several answers and returns one: the head counts that one alone, and the others
are in ``details``, if those were asked for.
"""

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from joulegate.framing import Peek, PointerPeek
from joulegate.framing.values import decode, derived, fact, whole
from joulegate.model import Fact, FactSource, Task, TaskFacts, WorkClass
from joulegate.observing import Listener
from joulegate.ports import About, Headers, Observer, Route

_GENERATE = Route("tgi.generate", Task.TEXT_GENERATION, dialect="plain")
_PATHS = frozenset({"/", "/generate", "/generate_stream", "/vertex"})
_ADMIN = Route("tgi.admin", work=WorkClass.ADMIN, reads_body=False, dialect="plain")
_PROBE = Route("tgi.probe", work=WorkClass.PROBE, reads_body=False, dialect="plain")

_TEXT = re.compile(rb'"text"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_TOKEN = re.compile(rb'"token"\s*:\s*\{')
_DETAILS = re.compile(rb'"details"\s*:\s*\{')
_WRITTEN = "details.generated_tokens"
_MOST = 16
"""Answers of one request that are looked for in its details; servers allow two unless told otherwise."""
_OTHERS = tuple(f"details.best_of_sequences.{place}.generated_tokens" for place in range(_MOST))
_POINTERS = {
    f"{mark}{path}": (*place, *path.split("."))
    for mark, place in (("", ()), ("[0].", ("0",)))
    for path in (_WRITTEN, *_OTHERS)
}
"""Of an answer, and of one in a list."""


class Plugin:
    """Knows TGI's native routes. ``/`` wraps what ``/generate`` answers in a list."""

    about = About(
        servers=("Text Generation Inference",),
        kinds=("tgi",),
        routes=("POST /", "POST /vertex", "POST /chat_tokenize"),
        usage="fields of the head: `x-prompt-tokens`, `x-generated-tokens`, `x-queue-time`; streams: "
        "`details` of the last event; all of `best_of` only with `parameters.details`; none at `/vertex`",
        streaming="events without `[DONE]`, the last with `generated_text` and `details`",
        disconnect="stops at the next step",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if TGI has none of its own there."""
        if method == "POST":
            return _ADMIN if path == "/chat_tokenize" else _GENERATE if path in _PATHS else None
        return _PROBE if method == "GET" and path == "/info" else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return (TgiGeneration if route is _GENERATE else Listener)(headers, model=route.model)


class TgiGeneration(Listener):
    """Listens to one exchange."""

    wishes = frozenset({"stream", "parameters.max_new_tokens", "parameters.best_of"})
    bounds = ("parameters.max_new_tokens",)
    completed = (b'"generated_text":"',)
    answers = frozenset({_WRITTEN, "details.input_length", *_OTHERS})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._tokens = 0
        self._detailed = False

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Look into the answer, or into the only one of a list."""
        return super().answer_peek(media, headers) and PointerPeek(_POINTERS)

    def event(self, data: bytes) -> int:
        """Accept one event: a token, and in the last one the details."""
        if _DETAILS.search(data):
            self._end(data)
        if not _TOKEN.search(data):
            return 0
        self._tokens += 1
        text = _TEXT.search(data)
        return len(text[1]) if text else 0

    def repeats(self, head: bytes) -> bool:
        """Only the last event is long: it repeats the whole text."""
        del head
        return True

    def read_members(self, members: dict[str, bytes]) -> None:
        """Record the tokens of all answers, where the details have them."""
        found = {path.removeprefix("[0]."): whole(raw) for path, raw in members.items()}
        written = found.get(_WRITTEN)
        if written is None:
            return
        self._detailed = True
        others = [tokens for path in _OTHERS if (tokens := found.get(path)) is not None]
        total = derived(written + sum(others)) if others else fact(written)
        self.accounts.facts = replace(self.accounts.facts, completion_tokens=total)
        prompt = fact(found.get("details.input_length"))
        if prompt:
            self.accounts.facts = replace(self.accounts.facts, prompt_tokens=prompt)

    def facts(self) -> TaskFacts:
        """Return the work done: answers that were not told are taken to be as long as the one that was."""
        facts = self.accounts.facts
        written = facts.completion_tokens
        if written is None and self._tokens:
            written = derived(self._tokens)
        choices = whole(self.request_found().members.get("parameters.best_of")) or 1
        if written and choices > 1 and not self._detailed:
            written = Fact(written.value * choices, FactSource.ESTIMATED)
        made = derived(choices) if written else None
        return replace(facts, completion_tokens=written, choices=made)

    def _end(self, data: bytes) -> None:
        last = decode(data, _LastToken)
        if last:
            counts = {
                _WRITTEN: last.details.generated_tokens,
                "details.input_length": last.details.input_length,
            }
            self.read_members({path: b"%d" % n for path, n in counts.items() if type(n) is int})


class _TgiDetails(Struct):
    generated_tokens: Any = None
    input_length: Any = None


class _LastToken(Struct):
    details: _TgiDetails
