"""Listens to exchanges that read or write text.

Events of a stream are searched as bytes: their content is the length of their text members as it stands in
the JSON (an escape counts as written), and only events that hold ``usage``, ``timings`` or ``metrics`` are
decoded. One that is like the event before but for its text is not even searched (``framing.EventTemplate``).
Facts are what the server reported last; the one exception is llama.cpp, which ends each choice of several
with an account of its own.
"""

import re
from typing import ClassVar

from msgspec.structs import replace

from joulegate.framing import EventTemplate, Found, may_tell
from joulegate.framing.values import decode, flag, whole, word
from joulegate.model import Fact, FactSource, JobSign, TaskFacts
from joulegate.observing import Listener, Members
from joulegate.ports import Headers, Rewrite
from joulegate.protocols.openai.jobs import MEMBERS, sign
from joulegate.units import Nanoseconds
from joulegate.usage_injection import ask_for_usage

_STRING = rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_MODEL = re.compile(rb'"model"\s*:\s*("[^"\\]{1,512}")')
_UNDONE = (b'"queued"', b'"in_progress"')
"""Status of a response that has not been made yet; nearly all that pass are ``completed``."""
_MODEL_EVENTS = 8
"""Events that are searched for the name of the model before it is taken as not told."""


def texts(names: bytes) -> re.Pattern[bytes]:
    """Return a pattern for the JSON strings of these members, at any depth.

    It cannot match inside a string: there every quotation mark has a backslash before it.
    """
    return re.compile(rb'"(?:' + names + rb')"\s*:\s*' + _STRING, re.DOTALL)


class Generation(Listener):
    """Exchanges that write text."""

    bounds = ("max_completion_tokens", "max_output_tokens", "max_tokens")
    wishes = frozenset({"model", "stream", "n", *bounds})
    wish_counts = frozenset({"prompt"})
    answers = frozenset({"model", "usage", "timings", "metrics", "response.usage", "response.model"})
    answer_counts = frozenset({"choices"})
    texts: ClassVar[re.Pattern[bytes]]
    """The members of an event that are new text."""

    _template: EventTemplate | None = None
    """Of a stream."""
    _events = 0
    _choices: int | None = None
    _finals = 0

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        """Accept a part of the answer; one like the last one but for its text is not taken apart."""
        del t
        splitter, template = self._splitter, self._template
        if splitter is None:
            return self._read(self, chunk)
        if template is not None:
            size = template.read_size(chunk)
            if size >= 0 and splitter.skip(len(chunk)):
                return size
        if payload := splitter.alone(chunk):
            size = self.event(payload)
            self._conclude(payload)
            if self._template is not None:
                self._template.learn_read(chunk, payload)
            return size
        return self._read(self, chunk)

    def event(self, data: bytes) -> int:
        """Accept one event of the stream."""
        size = self._template.size(data) if self._template is not None else -1
        return size if size >= 0 else self._searched(data)

    def long_event(self, found: Found) -> None:
        """Accept usage of the event itself, or of the response inside it."""
        self.read_members(found.members)
        self.read_members(
            {path[9:]: raw for path, raw in found.members.items() if path.startswith("response.")}
        )

    def document(self, found: Found) -> None:
        """Count the choices, of which llama.cpp reports the first one only."""
        self._choices = found.counts.get("choices")
        if self._choices and self._choices > 1:
            prompts = self._choices // self._choices_of_each() if self._has_list() else 1
            self.accounts.first_of(self._choices, found.members.get("timings"), prompts=prompts)

    def facts(self) -> TaskFacts:
        """Return the work done; choices of a stream are those that were asked for."""
        facts = self.accounts.facts
        choices = self._choices if self._choices is not None else self._asked_choices()
        return replace(facts, choices=Fact(choices, FactSource.DERIVED)) if choices else facts

    def _asked_choices(self) -> int | None:
        """Each prompt of a list has choices of its own; how many those are, a stream does not say."""
        if not self._events or self._has_list() or not self.request_found().members:
            return None
        return self._choices_of_each()

    def _has_list(self) -> bool:
        return "prompt" in self.request_found().counts

    def _choices_of_each(self) -> int:
        """Return how many choices each prompt has."""
        return whole(self.request_found().members.get("n")) or 1

    def _searched(self, data: bytes) -> int:
        tells = may_tell(data) or b'"timings"' in data or b'"metrics"' in data
        if tells:
            self._final(data)
        if self._events < _MODEL_EVENTS:
            self._name(data)
        found = [match.span(1) for match in self.texts.finditer(data)]
        if len(found) == 1 and not tells:
            self._template = self._template or EventTemplate()
            self._template.learn(data, *found[0])
        return sum(end - start for start, end in found)

    def _final(self, data: bytes) -> None:
        before = self.accounts.facts
        members = self.account(data)
        if members is None:
            return
        if "response" in members:
            self.account(bytes(members["response"]))
        if "usage" in members and "timings" in members:
            self._finals += 1
            if self._finals > 1 and before.completion_tokens:
                self.accounts.add_completion(before.completion_tokens.value)
                if self._has_list() and self._choices_of_each() == 1:
                    self.accounts.add_prompt(before)

    def _name(self, data: bytes) -> None:
        self._events += 1
        match = _MODEL.search(data)
        if match:
            self.answer_model = word(match[1])
            self._events = _MODEL_EVENTS


class Chat(Generation):
    """``/chat/completions``."""

    texts = texts(b"content|reasoning_content|reasoning|arguments|refusal|data")

    def rewrite(self, body: bytes) -> Rewrite | None:
        """Ask a stream for usage where the client did not."""
        return ask_for_usage(body)


class Completion(Generation):
    """``/completions``."""

    texts = texts(b"text")

    def rewrite(self, body: bytes) -> Rewrite | None:
        """Ask a stream for usage where the client did not."""
        return ask_for_usage(body)


class Response(Generation):
    """``/responses``: named events; the last one repeats the whole answer and holds its usage.

    One in the background is a job: its answer comes at once, and its stream may be left.
    """

    answers = Generation.answers | MEMBERS
    completed = (b'"response.completed"', b'"response.incomplete"')
    failures = (b'"response.failed"',)
    texts = texts(b"delta")

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._begun: JobSign | None = None
        """A stream in the background that has not ended."""
        self._signs: list[JobSign] = []

    def event(self, data: bytes) -> int:
        """Accept one event of the stream; its first one says whether it is in the background."""
        if b'"background"' in data:
            self._stage(data)
        return super().event(data)

    def repeats(self, head: bytes) -> bool:
        """Only deltas are new."""
        return b".delta" not in head

    def long_event(self, found: Found) -> None:
        """Accept usage; so long an event is the last, with the whole answer."""
        super().long_event(found)
        self._begun = None

    def document(self, found: Found) -> None:
        """Accept a response that has not been made yet: a job."""
        super().document(found)
        if found.members.get("status") in _UNDONE and (job := sign(found.members, submitted=True)):
            self._signs.append(job)

    def response_end(self, *, complete: bool) -> None:
        """Accept it that the work goes on without the client, if that left a stream in the background."""
        super().response_end(complete=complete)
        if self._begun is not None and not complete:
            self._signs.append(self._begun)

    def jobs(self) -> list[JobSign]:
        """Return what was learnt since the last call."""
        signs, self._signs = self._signs, []
        return signs

    def facts(self) -> TaskFacts:
        """Return the work done: a response has no choices."""
        return self.accounts.facts

    def _stage(self, data: bytes) -> None:
        members = decode(data, Members)
        response = decode(members["response"], Members) if members and "response" in members else None
        if response is None:
            return
        job = sign(response, submitted=True)
        goes_on = job is not None and job.state.outcome is None
        self._begun = job if goes_on and flag(bytes(response.get("background", b""))) else None
