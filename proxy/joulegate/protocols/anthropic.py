"""Anthropic's Messages (https://docs.anthropic.com/en/api/messages), which many servers speak too.

A stream is made of named events; ``message_start`` tells the usage so far, ``message_delta`` the usage at
the end, both cumulative, and there is no ``[DONE]``. ``input_tokens`` leaves out what was read from and
written to the cache. A server may say a count in one of the two events and 0 or nothing in the other, so that
the larger one counts.
"""

import re
from typing import Any

import msgspec

from joulegate.framing import Found
from joulegate.framing.values import count, decode, word
from joulegate.model import Task, TaskFacts, WorkClass
from joulegate.observing import Listener, Members
from joulegate.ports import About, Headers, Observer, Route

_DIALECT = "anthropic"
_MESSAGES = Route("messages", Task.CHAT, dialect=_DIALECT)
_ADMIN = Route("messages.admin", work=WorkClass.ADMIN, reads_body=False, dialect=_DIALECT)
_PATH = re.compile(r"(?:/[^/]+)*?/v1/messages(?P<rest>/(?:count_tokens|render|batches(?:/.*)?))?/?")
_TEXT = re.compile(rb'"(?:text|thinking|partial_json)"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
"""New text of an event. It cannot match inside a string: a quotation mark has a backslash there."""

_ERRORS = {400: "invalid_request_error", 404: "not_found_error", 503: "overloaded_error"}
"""https://docs.claude.com/en/api/errors; every other one is ``api_error``."""


class Plugin:
    """Knows ``/v1/messages``, behind any prefix."""

    about = About(
        servers=("Anthropic", "vLLM", "SGLang", "llama.cpp", "Ollama", "LMDeploy", "LiteLLM", "LocalAI"),
        routes=(
            "POST /anthropic/v1/messages",
            "POST /v1/messages/count_tokens",
            "POST /v1/messages/batches",
            "GET /v1/messages/batches/msgbatch_1",
        ),
        usage="`usage.{input_tokens,cache_read_input_tokens,cache_creation_input_tokens,output_tokens}`; "
        "the input is the sum of the first three",
        streaming="named events; usage in `message_start` and `message_delta`, last `message_stop`",
        disconnect="vLLM, SGLang, llama.cpp and Ollama stop",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if it is no message."""
        if method == "POST" and path == "/v1/messages":
            return _MESSAGES
        match = _PATH.fullmatch(path)
        if not match:
            return None
        if match["rest"]:
            return _ADMIN
        return _MESSAGES if method == "POST" else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return (AnthropicMessage if route is _MESSAGES else Listener)(headers, model=route.model)

    def error(self, status: int, code: str, message: str) -> object:
        """Return an error as the clients of this protocol read it."""
        del code
        kind = _ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}


class AnthropicMessage(Listener):
    """Listens to one message."""

    wishes = frozenset({"model", "stream", "max_tokens"})
    bounds = ("max_tokens",)
    completed = (b"message_stop",)
    answers = frozenset({"model", "usage", "timings", "message.model", "message.usage"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._usage: dict[str, int] = {}
        self._find = _TEXT.findall

    def event(self, data: bytes) -> int:
        """Accept one event; only those that hold usage are decoded."""
        if b'"usage"' in data:
            members = decode(data, Members) or {}
            self._note(members)
            self._note(decode(members.get("message", b"null"), Members) or {})
        return sum(map(len, self._find(data)))

    def long_event(self, found: Found) -> None:
        """Accept an event too long to be decoded."""
        members = found.members
        self._note({"model": members.get("message.model", b""), "usage": members.get("message.usage", b"")})
        self._note(members)

    def facts(self) -> TaskFacts:
        """Return the work done: of a stream by the largest of its cumulative counts."""
        if self._usage:
            self.accounts.usage(msgspec.json.encode(self._usage))
        return self.accounts.facts

    def _note(self, members: dict[str, Any]) -> None:
        self.answer_model = self.answer_model or word(members.get("model"))
        self.accounts.server_timings(members.get("timings"))
        usage = decode(members.get("usage") or b"null", dict[str, Any]) or {}
        for name, value in usage.items():
            number = count(value) if name.endswith("_tokens") else None
            if number is not None:
                self._usage[name] = max(number, self._usage.get(name, 0))
