"""Listens to realtime sessions: one connection, and one request for each answer in it.

Sources: the events of https://platform.openai.com/docs/api-reference/realtime-server-events, and vLLM's
transcriptions over the same route (vllm/entrypoints/openai/realtime).
"""

from typing import Any

from msgspec import Raw, Struct

from joulegate.framing.values import decode, fact, word
from joulegate.model import Asked, JobSign, JobState, Task, TaskFacts, Work
from joulegate.observing import JobListener
from joulegate.ports import Headers
from joulegate.units import Nanoseconds

_ENDS = {
    "completed": JobState.DONE,
    "incomplete": JobState.DONE,
    "cancelled": JobState.CANCELLED,
    "failed": JobState.FAILED,
}


_NOTHING = Raw(b"null")


class _Event(Struct):
    type: str = ""
    response_id: str | None = None
    response: Raw = _NOTHING
    session: dict[str, Raw] | None = None
    usage: Raw = _NOTHING


class _Answer(Struct):
    id: str = ""
    status: str | None = None
    usage: Raw = _NOTHING


class _RealtimeDetails(Struct):
    cached_tokens: Any = None


class _RealtimeUsage(Struct):
    input_tokens: Any = None
    output_tokens: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    input_token_details: _RealtimeDetails | None = None


class Realtime(JobListener):
    """A session. An answer begins with ``response.created`` and ends with ``response.done``."""

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._speaking: str | None = None
        """The answer that has begun to speak."""
        self._transcripts = 0
        self._transcribing = False

    def message(self, t: Nanoseconds, data: bytes, *, text: bool, from_client: bool) -> None:
        """Accept one message."""
        del t
        if text and not from_client and not self._goes_on(data):
            event = decode(data, _Event)
            if event is not None:
                self._event(event)

    def _goes_on(self, data: bytes) -> bool:
        """Whether this is one more part of an answer that speaks: most messages are."""
        return self._speaking is not None and self._speaking.encode() in data and b'.delta"' in data

    def _event(self, event: _Event) -> None:
        if event.session is not None:
            self.answer_model = word(event.session.get("model")) or self.answer_model
        if event.type.startswith("transcription."):
            self._transcript(event)
        elif event.type in ("response.created", "response.done"):
            self._response(event)
        elif event.type.endswith(".delta") and event.response_id:
            self._speaking = event.response_id
            self.signs.append(JobSign(event.response_id, JobState.RUNNING, pushed=True))

    def _response(self, event: _Event) -> None:
        answer = decode(event.response, _Answer)
        if answer is None or not answer.id:
            return
        if event.type == "response.created":
            self._begin(answer.id, Task.CHAT)
        else:
            self._end(answer.id, _ENDS.get(answer.status or "", JobState.DONE), answer.usage)

    def _transcript(self, event: _Event) -> None:
        """Accept a part of a transcription; such answers have no names."""
        name = f"transcription-{self._transcripts}"
        if not self._transcribing:
            self._transcribing = True
            self._begin(name, Task.SPEECH_RECOGNITION)
        if event.type == "transcription.done":
            self._end(name, JobState.DONE, event.usage)
            self._transcribing, self._transcripts = False, self._transcripts + 1

    def _begin(self, name: str, task: Task) -> None:
        work = Work(task, Asked(model=self.answer_model, stream=True))
        self.signs.append(JobSign(name, JobState.RUNNING, pushed=True, work=work))

    def _end(self, name: str, state: JobState, usage: Raw) -> None:
        facts = _facts(usage)
        self.signs.append(JobSign(name, state, pushed=True, facts=facts, model=self.answer_model))


def _facts(raw: Raw) -> TaskFacts:
    usage = decode(raw, _RealtimeUsage)
    if usage is None:
        return TaskFacts()
    details = usage.input_token_details
    return TaskFacts(
        prompt_tokens=fact(usage.input_tokens) or fact(usage.prompt_tokens),
        cached_prompt_tokens=fact(details.cached_tokens) if details else None,
        completion_tokens=fact(usage.output_tokens) or fact(usage.completion_tokens),
    )
