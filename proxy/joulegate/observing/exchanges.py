"""What the observers of all JSON-speaking protocols have in common.

A protocol's observer is a subclass that says which members it wants of requests and answers and what an
event of its streams means. This base knows the framing: whole documents of any size, server-sent events,
lines of JSON, anything else. It never raises on what a server sent, and its memory is bounded.
"""

from collections.abc import Callable
from typing import ClassVar

import msgspec

from joulegate.framing import (
    EventSplitter,
    Found,
    Frame,
    JsonPeek,
    LineSplitter,
    MultipartPeek,
    Peek,
    PointerPeek,
    UsageReader,
)
from joulegate.framing.onward import passed_on
from joulegate.framing.scan import dotted
from joulegate.framing.values import decode, flag, whole, word
from joulegate.model import Asked, Fact, FactSource, ServerTimings, TaskFacts, WorkClass
from joulegate.ports import Conclusion, Headers, Rewrite, by_name
from joulegate.units import Nanoseconds

Members = dict[str, msgspec.Raw]

MULTIPART = b"multipart/form-data"
_PLAIN = (b"", b"identity")
"""Values of ``Content-Encoding`` that leave a body as it is."""
_EVENT_STREAM = frozenset({b"text/event-stream"})
_LINES = frozenset({b"application/x-ndjson", b"application/jsonl", b"application/stream+json"})
_EVENT_SIGNS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How a stream of events begins (HTML standard, section 9.2.5); no JSON document does."""
_MARK = b"\xef\xbb\xbf"
_NO_ERROR = frozenset({b"null", b"false", b"0", b'""', b"{}", b"[]"})
_FIRST = 16
"""Bytes that are always enough to see one of them."""


class Listener:
    """An observer that reads model, usage and timings in their usual places; see ``ports.Observer``."""

    wishes: ClassVar[frozenset[str]] = frozenset({"model", "stream"})
    """Members of the request that ``wish`` reads."""
    bounds: ClassVar[tuple[str, ...]] = ()
    """Those of them that bound the tokens of the answer; the first that has a number counts."""
    wish_counts: ClassVar[frozenset[str]] = frozenset()
    """Arrays of the request whose elements count."""
    answers: ClassVar[frozenset[str]] = frozenset({"error", "model", "usage", "timings", "metrics"})
    """Members of the answer that ``document`` reads, and of events too long to be decoded."""
    answer_counts: ClassVar[frozenset[str]] = frozenset()
    """Arrays of the answer whose elements count."""
    completed: ClassVar[tuple[bytes, ...]] = ()
    """One of these in an event, beside ``[DONE]``, says that the work is done."""
    failures: ClassVar[tuple[bytes, ...]] = ()
    """One of these in an event says that the work failed, beside an ``error`` member of its own."""
    answer_heads: ClassVar[frozenset[str]] = frozenset()
    """Members of the answer that are pictures: their beginning is kept, however long they are."""

    def __init_subclass__(cls) -> None:
        """Look for an error in every answer."""
        super().__init_subclass__()
        cls.answers = cls.answers | {"error"}

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        self.accounts = UsageReader()
        self.answered = False
        """A good answer has begun."""
        self.answer_model: str | None = None
        self._route_model = model
        self._fields = by_name(headers)
        encoding = self._fields.get(b"content-encoding", b"").lower()
        self._request = self.request_peek(headers) if encoding in _PLAIN else None
        # Not bound: a bound method would keep the listener alive until the garbage collector comes.
        self._read: Callable[[Listener, bytes], int] = _nothing
        self._splitter: EventSplitter | LineSplitter | None = None
        self._document: Peek | None = None
        self._first = b""
        """The beginning of an answer, while it is too short to show what it is."""
        self._long: Peek | None = None
        self._long_counts = True
        self._conclusion = Conclusion.NONE

    # --- what a protocol says ------------------------------------------------------------------------

    def request_peek(self, headers: Headers) -> Peek | None:
        """Return what looks into the request's body; ``None`` leaves it unread."""
        del headers
        content_type = self._fields.get(b"content-type", b"")
        if content_type.lower().startswith(MULTIPART):
            return MultipartPeek(content_type, self.wishes)
        return JsonPeek(self.wishes, self.wish_counts)

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Return what looks into a good answer that is no stream; ``None`` only counts its bytes."""
        del headers
        if media == b"application/json" or media.endswith(b"+json"):
            return JsonPeek(self.answers, self.answer_counts, self.answer_heads)
        return None

    def wish(self, found: Found) -> Asked:
        """Return what the request asks for: model, stream and the bound of the answer."""
        members = found.members
        bound = None
        for name in self.bounds:
            if bound is None and name in members:
                bound = whole(members[name])
        return Asked(model=word(members.get("model")), stream=flag(members.get("stream")), max_tokens=bound)

    def event(self, data: bytes) -> int:
        """Accept one whole event or line; return its content bytes."""
        if data == b"[DONE]":
            return 0
        if b'"usage"' in data or b'"timings"' in data or b'"metrics"' in data:
            self.account(data)
        return len(data)

    def long_peek(self) -> Peek:
        """Return what looks into an event too long to be decoded."""
        return PointerPeek({path: dotted(path) for path in self.answers})

    def long_event(self, found: Found) -> None:
        """Accept what was found in an event too long to be decoded."""
        self.read_members(found.members)

    def repeats(self, head: bytes) -> bool:
        """Return of a long event, by its first bytes, that it only repeats what was sent before."""
        del head
        return False

    def document(self, found: Found) -> None:
        """Accept what was found in a complete answer that is no stream, beyond model and accounts."""

    # --- what protocols may use ----------------------------------------------------------------------

    def completes(self) -> None:
        """Record that the answer has said that its work is done."""
        if self._conclusion is Conclusion.NONE:
            self._conclusion = Conclusion.COMPLETE

    def account(self, data: bytes) -> Members | None:
        """Decode an event that holds usage or timings; note them, and the model if it is not known yet."""
        members = decode(data, Members)
        if members is not None:
            self.accounts.take(members)
            self.answer_model = self.answer_model or word(members.get("model"))
        return members

    def read_members(self, members: dict[str, bytes]) -> None:
        """Record model, usage and timings."""
        self.answer_model = word(members.get("model")) or self.answer_model
        self.accounts.take(members)

    def request_found(self) -> Found:
        """Return what is known of the request's body so far."""
        return self._request.found() if self._request else Found({}, {})

    # --- ports.Observer ------------------------------------------------------------------------------

    def request_body(self, chunk: bytes) -> None:
        """Accept a part of the request body."""
        if self._request:
            self._request.feed(chunk)

    def asked(self) -> Asked:
        """Return what is known of the wish so far."""
        asked = self.wish(self._request.found() if self._request else Found({}, {}))
        if asked.model is None and self._route_model:
            return msgspec.structs.replace(asked, model=self._route_model)
        return asked

    def rewrite(self, body: bytes) -> Rewrite | None:
        """Leave the request as it is."""
        del body
        return None

    def response_head(self, status: int, headers: Headers) -> None:
        """Accept the head of the answer; the body of a failure is no content."""
        if not 200 <= status < 300:
            self._read = _nothing
            return
        self.answered = True
        fields = by_name(headers)
        self.accounts.head(fields)
        if fields.get(b"content-encoding", b"").lower() not in _PLAIN:
            self._read = _length
            return
        media = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media in _EVENT_STREAM or media in _LINES:
            self._begin_records(EventSplitter() if media in _EVENT_STREAM else LineSplitter())
            return
        self._document = self.answer_peek(media, headers)
        self._read = Listener._read_first

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        """Accept a part of the answer; return its content bytes."""
        del t
        if self._splitter is not None and (payload := self._splitter.alone(chunk)):
            self._conclude(payload)
            return self.event(payload)
        return self._read(self, chunk)

    def response_end(self, *, complete: bool) -> None:
        """Accept what the end of the answer ends."""
        if self._first:
            self._choose(self._first, ended=True)
        if self._splitter:
            self._frames(self._splitter.finish())
        if self._document:
            found = self._document.found()
            self.read_members(found.members)
            if complete:
                self.document(found)
        self._look_elsewhere()

    def conclusion(self) -> Conclusion:
        """Return what the answer has said of its end so far."""
        failed = isinstance(self._splitter, EventSplitter) and self._splitter.failed
        if self._document is not None:
            failed = _is_error(self._document.found().members.get("error"))
        return Conclusion.FAILED if failed else self._conclusion

    def facts(self) -> TaskFacts:
        """Return the work done as far as it is known."""
        return self.accounts.facts

    def timings(self) -> ServerTimings:
        """Return the durations that the server reported."""
        return self.accounts.timings

    def model(self) -> str | None:
        """Return the model named in the answer."""
        return self.answer_model

    def streamed(self) -> bool:
        """Whether the answer is a stream of parts."""
        return self._splitter is not None

    def _look_elsewhere(self) -> None:
        """Record that the server passed the request on to another host, whichever language it was in."""
        asked = self._request.found().members.get("model", b"") if self._request else b""
        if asked[-6:].lower() == b'cloud"' and passed_on(word(asked), self.answer_model):
            self.accounts.facts = msgspec.structs.replace(self.accounts.facts, work=WorkClass.REMOTE)

    def _conclude(self, data: bytes) -> None:
        """Look whether an event says that the work is done, or that it failed."""
        if data == b"[DONE]" or (self.completed and any(mark in data for mark in self.completed)):
            self.completes()
        elif (b'"error"' in data and _tells_error(data)) or (
            self.failures and any(mark in data for mark in self.failures)
        ):
            self._conclusion = Conclusion.FAILED

    # --- framing -------------------------------------------------------------------------------------

    def _begin_records(self, splitter: EventSplitter | LineSplitter) -> None:
        self._splitter = splitter
        self._document = None
        self._read = Listener._read_records

    def _read_first(self, chunk: bytes) -> int:
        """Accept the beginning of an answer whose field names no stream: its first bytes may show one."""
        return self._choose(self._first + chunk)

    def _choose(self, begun: bytes, *, ended: bool = False) -> int:
        first = begun.removeprefix(_MARK)
        signs = (*_EVENT_SIGNS, _MARK)
        if not ended and len(begun) < _FIRST and any(sign.startswith(first) for sign in signs):
            self._first = begun
            return 0
        self._first = b""
        if first.startswith(_EVENT_SIGNS):
            self._begin_records(EventSplitter())
        else:
            self._read = Listener._read_document if self._document else _length
        return self._read(self, begun)

    def _read_records(self, chunk: bytes) -> int:
        return self._frames(self._splitter.feed(chunk)) if self._splitter else 0

    def _read_document(self, chunk: bytes) -> int:
        if self._document:
            self._document.feed(chunk)
        return len(chunk)

    def _frames(self, frames: list[Frame]) -> int:
        content = 0
        for frame in frames:
            if not frame.whole:
                content += self._part(frame)
            elif frame.data:
                self._conclude(frame.data)
                content += self.event(frame.data)
        return content

    def _part(self, frame: Frame) -> int:
        if self._long is None:
            self._long = self.long_peek()
            self._long_counts = not self.repeats(frame.data[:512])
            self._conclude(frame.data[:512])
        self._long.feed(frame.data)
        if frame.last:
            found, self._long = self._long.found(), None
            self.long_event(found)
        return len(frame.data) if self._long_counts else 0


class PromptListener(Listener):
    """Exchanges whose work is all in the prompt: embeddings, scores, rerank, moderation."""

    def document(self, found: Found) -> None:
        """Read usage that has only a total: it is the prompt's."""
        self.accounts.total_is_prompt(found.members.get("usage"))

    def facts(self) -> TaskFacts:
        """Return the work done; nothing is written."""
        facts = self.accounts.facts
        if not self.answered or facts.completion_tokens is not None:
            return facts
        return msgspec.structs.replace(facts, completion_tokens=Fact(0, FactSource.DERIVED))


def _tells_error(data: bytes) -> bool:
    """Whether an event has an error at its top, or is one by its type."""
    members = decode(data, Members)
    if members is None:
        return False
    kinds = (word(members.get("type")), word(members.get("object")))
    return "error" in kinds or _is_error(members.get("error"))


def _is_error(raw: bytes | msgspec.Raw | None) -> bool:
    """Whether a raw ``error`` member says more than that there is none."""
    return raw is not None and bytes(raw).strip() not in _NO_ERROR


def _nothing(_: Listener, chunk: bytes) -> int:
    del chunk
    return 0


def _length(_: Listener, chunk: bytes) -> int:
    return len(chunk)


def header(headers: Headers, name: bytes) -> bytes:
    """Return the value of the first field of this name, in lower case; empty if there is none."""
    return by_name(headers).get(name, b"")
