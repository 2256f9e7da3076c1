"""Ollama's own routes (https://github.com/ollama/ollama, docs/api.md and api/types.go).

Answers are lines of JSON unless the request says ``"stream":false``; the last line has ``"done":true`` with
counts and durations in ns. A failure after the head is a line with ``error``. Fields that are 0 are left out.

A call without a prompt or a message loads the model, or unloads it. Models with ``cloud`` as their tag's end
are passed on to ollama.com, and so are models made from them: those answers name ``remote_model`` and
``remote_host``. No device here works for them.
"""

import re

from msgspec import Raw
from msgspec.structs import replace

from joulegate.framing import Found
from joulegate.framing.onward import base_of
from joulegate.framing.values import decode, fact, flag, milliseconds, whole, word
from joulegate.model import Asked, Fact, ServerTimings, Task, TaskFacts, WorkClass
from joulegate.observing import Listener, Members, PromptListener
from joulegate.ports import About, Headers, Observer, Route
from joulegate.units import Nanoseconds

_DIALECT = "ollama"
_ADMIN = Route("ollama.admin", work=WorkClass.ADMIN, reads_body=False, dialect=_DIALECT)
_PROBE = Route("ollama.probe", work=WorkClass.PROBE, reads_body=False, dialect=_DIALECT)
_INFERENCE = {
    "/api/generate": Route("ollama.generate", Task.TEXT_GENERATION, dialect=_DIALECT),
    "/api/chat": Route("ollama.chat", Task.CHAT, dialect=_DIALECT),
    "/api/embed": Route("ollama.embed", Task.EMBEDDINGS, dialect=_DIALECT),
    "/api/embeddings": Route("ollama.embed", Task.EMBEDDINGS, dialect=_DIALECT),
}
_CONTROL = frozenset({
    "/api/show", "/api/create", "/api/pull", "/api/push", "/api/copy", "/api/delete", "/api/me",
    "/api/signout",
})  # fmt: skip
_READ = frozenset({"/api/tags", "/api/ps", "/api/version", "/api/status"})
_BELOW = ("/api/blobs/", "/api/experimental/", "/api/user/")

_TEXT = re.compile(rb'"(?:response|thinking|content)"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_CALLS = b'"tool_calls":[{'
_DONE = re.compile(rb'"done"\s*:\s*true')
_LOADS = frozenset({b'"load"', b'"unload"'})
_SHORT = 16 * 1024
"""Bytes of a request within which a prompt that was not found is not there."""

_COUNTS = {"prompt_tokens": "prompt_eval_count", "completion_tokens": "eval_count"}
_DURATIONS = {"load": "load_duration", "prefill": "prompt_eval_duration", "decode": "eval_duration"}
_LAST = frozenset(
    {*_COUNTS.values(), *_DURATIONS.values(), "model", "done_reason", "remote_model", "remote_host"}
)


class Plugin:
    """Knows ``/api``."""

    about = About(
        servers=("Ollama", "SGLang", "LocalAI"),
        kinds=("ollama",),
        routes=(
            "POST /api/embeddings", "POST /api/show", "POST /api/pull", "POST /api/create", "POST /api/push",
            "POST /api/copy", "DELETE /api/delete", "POST /api/blobs/sha256:1", "GET /api/ps",
            "GET /api/version",
        ),
        usage="last line: `prompt_eval_count`, `eval_count`, `load_duration`, `prompt_eval_duration`, "
        "`eval_duration`; none at `/api/embeddings`",
        streaming="lines of JSON, unless `stream` is false; last `\"done\":true`; an `error` line after 200",
        disconnect="stops at the next token, not within a prompt (ollama#11889)",
    )  # fmt: skip

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if it is not Ollama's."""
        if not path.startswith("/api/"):
            return None
        if method == "POST" and path in _INFERENCE:
            return _INFERENCE[path]
        if method in ("GET", "HEAD") and path in _READ:
            return _PROBE
        return _ADMIN if path in _CONTROL or path.startswith(_BELOW) else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        kinds: dict[str, type[Listener]] = {
            "ollama.generate": OllamaGeneration, "ollama.chat": OllamaGeneration, "ollama.embed": Embedding,
        }  # fmt: skip
        return kinds.get(route.name, Listener)(headers, model=route.model)


class Ollama(Listener):
    """Listens to one exchange."""

    answers = _LAST

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._work: WorkClass | None = None

    def wish(self, found: Found) -> Asked:
        """Return the model, and whether it is elsewhere."""
        model = word(found.members.get("model"))
        return Asked(model=model, work=WorkClass.REMOTE if base_of(model) else None)

    def read_members(self, members: dict[str, bytes]) -> None:
        """Record counts, durations and where the work was done."""
        self._take(members)

    def facts(self) -> TaskFacts:
        """Return the work done."""
        return replace(super().facts(), work=self._work)

    def _take(self, members: "dict[str, bytes] | dict[str, Raw]") -> None:
        self.answer_model = word(members.get("model")) or self.answer_model
        if word(members.get("remote_model")) or word(members.get("remote_host")):
            self._work = WorkClass.REMOTE
        elif bytes(members.get("done_reason", b"")) in _LOADS:
            self._work = WorkClass.MODEL_LOAD
        counts = {name: fact(whole(members.get(field))) for name, field in _COUNTS.items()}
        known: dict[str, Fact] = {name: value for name, value in counts.items() if value}
        self.accounts.facts = replace(self.accounts.facts, **known)
        taken = {name: _duration(members.get(field)) for name, field in _DURATIONS.items()}
        if any(value is not None for value in taken.values()):
            self.accounts.timings = ServerTimings(**taken)


class OllamaGeneration(Ollama):
    """``/api/generate`` and ``/api/chat``."""

    wishes = frozenset({"model", "stream", "prompt", "options.num_predict"})
    wish_counts = frozenset({"messages"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._size = 0
        self._named = False
        self._find = _TEXT.findall

    def request_body(self, chunk: bytes) -> None:
        """Accept a part of the request body."""
        self._size += len(chunk)
        super().request_body(chunk)

    def wish(self, found: Found) -> Asked:
        """Return model, stream, the bound of the answer, and whether there is anything to answer."""
        asked = super().wish(found)
        stream = flag(found.members.get("stream"))
        bound = whole(found.members.get("options.num_predict"))
        loads = asked.work is None and self._loads(found)
        return replace(
            asked,
            stream=True if stream is None else stream,
            max_tokens=bound,
            work=WorkClass.MODEL_LOAD if loads else asked.work,
        )

    def event(self, data: bytes) -> int:
        """Accept one line; the first is decoded for the model, the last for counts and durations."""
        done = _DONE.search(data) is not None
        if done:
            self.completes()
        if not self._named or done:
            self._named = True
            self._take(decode(data, Members) or {})
        content = sum(map(len, self._find(data)))
        return len(data) if not content and _CALLS in data else content

    def _loads(self, found: Found) -> bool:
        if not found.members or self._size > _SHORT:
            return False
        return found.members.get("prompt", b'""') in (b'""', b"null") and not found.counts.get("messages")


class Embedding(Ollama, PromptListener):
    """``/api/embed`` and the older ``/api/embeddings``, which counts nothing."""


def _duration(raw: "bytes | Raw | None") -> Nanoseconds | None:
    """Accept a duration in ns."""
    value = decode(raw, int) if raw is not None else None
    return None if value is None or milliseconds(value / 1_000_000) is None else Nanoseconds(value)
