"""Asks a streaming server for usage on the client's behalf, and takes the answer to that out again.

The request is changed as text: one member is put in or one value replaced, every other byte stays. In the
answer the events that hold nothing but usage are dropped. What servers move from the last event of a choice
to that usage event is put back where the client would have found it: llama.cpp's ``timings``, and vLLM's
``system_fingerprint`` (entrypoints/openai/chat_completion/serving.py, 0.32.0), except where a choice of
several ended before the others went on, because nothing is held for so long.
``"usage":null`` in other events stays: servers that people run themselves either always send it or never.
"""

import re
from typing import NamedTuple

import msgspec

from joulegate.framing import LIMIT, ByteRange, EventSplitter, Frame, may_tell, spans
from joulegate.framing.values import decode
from joulegate.ports import Rewrite

_ASK = b'"include_usage":true'
_OPTIONS = b'"stream_options":{' + _ASK + b"}"
_PLACE = re.compile(rb'"stream_options"\s*:\s*(null|\{[^{}]{0,4096}\})')
_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\{')
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_LLAMACPP = re.compile(rb'"system_fingerprint"\s*:\s*"b\d+-')
"""llama.cpp signs its events with its build: number and commit."""
_VLLM = b'"stop_reason":'
"""vLLM's member of a choice that has ended; other servers have other names for it."""
_MOST_HELD = 128
"""Ends of choices that wait together; a server that sends more of them gets them through."""
_BEGIN = b"data:"
_BOM = b"\xef\xbb\xbf"
_EMPTY = (b"[]", b"null")


def ask_for_usage(body: bytes) -> Rewrite | None:
    """Return the request with usage asked for, or ``None`` where it must stay as it is.

    It stays if it is no stream, asks already, is no JSON object, or has options that are there twice, that
    the server will refuse or that change what usage looks like. A body of megabytes is read by the JSON
    decoder and one search, never token by token.
    """
    document = _document(body)
    if document is None or bytes(document.get("stream", b"")) != b"true":
        return None
    if "stream_options" not in document:
        return Rewrite(_append(body), UsageFilter())
    places = list(_PLACE.finditer(body))
    if len(places) != 1 or places[0][1] != bytes(document["stream_options"]):
        return None
    start, end = places[0].span(1)
    asking = _asking(body[start:end])
    return None if asking is None else Rewrite(body[:start] + asking + body[end:], UsageFilter())


def _asking(options: bytes) -> bytes | None:
    """Return the options with ``include_usage`` set; ``None`` if they are set already or are no options."""
    if options == b"null":
        return b"{" + _ASK + b"}"
    members = _members(options)
    if members is None or "continuous_usage_stats" in members:
        return None
    if "include_usage" not in members:
        return b"{" + _ASK + (b"," if members else b"") + options[1:]
    if _value(options, members, "include_usage") not in (b"false", b"null"):
        return None
    place = members["include_usage"]
    return options[: place.start] + b"true" + options[place.end :]


def _document(text: bytes) -> dict[str, msgspec.Raw] | None:
    """Return the members of a JSON object in UTF-8, or ``None`` if it is none."""
    try:
        text.decode()
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _members(text: bytes) -> dict[str, ByteRange] | None:
    """Return the members of a JSON object, or ``None`` if it is none or has one of them twice."""
    if _document(text) is None:
        return None
    found = spans(text)
    members = {span.key: span for span in found}
    return members if len(members) == len(found) else None


def _value(text: bytes, members: dict[str, ByteRange], key: str) -> bytes | None:
    span = members.get(key)
    return text[span.start : span.end] if span else None


def _append(body: bytes) -> bytes:
    end = body.rindex(b"}")
    return body[:end] + b"," + _OPTIONS + body[end:]


class _Moved(NamedTuple):
    """What a usage event holds that belongs into another one; nothing is empty."""

    timings: bytes
    fingerprint: bytes


class UsageFilter:
    """Drops the events of a stream that hold nothing but usage; see ``ports.ResponseFilter``.

    Bytes wait only while they may be the beginning of such an event, and the last events of choices until
    the next one is there.
    """

    def __init__(self) -> None:
        self._events = EventSplitter()
        self._waiting = b""
        self._passed = 0
        """How much of the stream has been let go or dropped; ``_waiting`` begins here."""
        self._last: list[bytes] = []
        """Events that end choices and may get something back; they stand before ``_waiting``."""

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes that may go on now."""
        # Whole events, and none of them of interest: nearly every chunk.
        if (
            chunk.endswith(b"\n\n")
            and b'"finish_reason":"' not in chunk
            and not may_tell(chunk)
            and not self._waiting
            and not self._last
            and self._events.skip(len(chunk))
        ):
            self._passed += len(chunk)
            return chunk
        self._waiting += chunk
        done = b"".join([self._decide(frame) for frame in self._events.feed(chunk)])
        return done + self._begun()

    def finish(self) -> bytes:
        """Return what is still held: the stream may end in the middle of an event."""
        done = b"".join([self._decide(frame) for frame in self._events.finish()])
        return done + self._let_last() + self._take(len(self._waiting))

    def _decide(self, frame: Frame) -> bytes:
        raw = self._take(frame.end - self._passed)
        moved = _usage_only(frame.data) if frame.whole else None
        if moved is not None:
            return self._let_last(moved)
        if frame.whole and len(self._last) < _MOST_HELD and _may_miss(frame.data):
            self._last.append(raw)
            return b""
        return self._let_last() + raw

    def _begun(self) -> bytes:
        """Let the unfinished event go as soon as it cannot be one to drop, nor the end of another choice."""
        begun = self._events.held
        if not self._waiting or (_FINISHED.search(begun) and not self._events.long):
            return b""
        in_passing = self._events.long or self._passed > self._events.offset
        if in_passing or (not self._last and _harmless(begun)):
            return self._let_last() + self._take(len(self._waiting))
        return b""

    def _take(self, size: int) -> bytes:
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        self._passed += len(taken)
        return taken

    def _let_last(self, moved: _Moved | None = None) -> bytes:
        last, self._last = self._last, []
        if last and moved and moved.fingerprint:
            last = [_with(event, b"system_fingerprint", moved.fingerprint) for event in last]
        if last and moved and moved.timings:
            last[-1] = _with(last[-1], b"timings", moved.timings)
        return b"".join(last)


def _with(event: bytes, key: bytes, value: bytes) -> bytes:
    """Return an event with a member added to its document, unless it is there."""
    if b'"%b"' % key in event:
        return event
    end = event.rindex(b"}")
    return b'%b,"%b":%b%b' % (event[:end], key, value, event[end:])


def _usage_only(data: bytes) -> _Moved | None:
    """Return what an event that holds only usage has of others; ``None`` for any other event."""
    if b'"usage"' not in data:
        return None
    members = decode(data, dict[str, msgspec.Raw])
    if members is None or bytes(members.get("usage", b""))[:1] != b"{":
        return None
    if bytes(members.get("choices", b"[]")).replace(b" ", b"") not in _EMPTY:
        return None
    return _Moved(bytes(members.get("timings", b"")), bytes(members.get("system_fingerprint", b"")))


def _may_miss(data: bytes) -> bool:
    if not _FINISHED.search(data):
        return False
    if _LLAMACPP.search(data):
        return b'"timings"' not in data
    return _VLLM in data and b'"system_fingerprint"' not in data


def _harmless(begun: bytes) -> bool:
    """Whether an unfinished event cannot turn out to be usage only."""
    text = begun.removeprefix(_BOM).lstrip(b"\r\n")
    if len(begun) > LIMIT:
        return True
    if not text.startswith(_BEGIN):
        return not _BEGIN.startswith(text) and not _BOM.startswith(begun)
    payload = text[len(_BEGIN) :].lstrip()
    return bool(payload) and (payload[:1] != b"{" or bool(_CHOICES.search(payload)))
