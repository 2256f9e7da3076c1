"""The conformance kit of inference protocols: recorded exchanges, replayed in every way.

A recording is a folder with

- ``request.json``: ``origin`` (where it comes from, with version), ``method``, ``path``, ``headers``,
  ``body`` (text) or ``body_base64``, ``status``, ``response_headers``, and optionally ``volatile``:
  patterns of bytes that differ between two runs of the same request;
- ``response.bin``: the answer's body as the server sent it;
- ``facts.json``: what an observer must say of it;
- for a websocket, with ``status`` 101, the two bodies are the frames that each end sent;
- optionally ``direct.bin``: the answer to the client's own request, where ``response.bin`` is the answer to
  the request that the observer sends in its place.

Each check raises ``AssertionError`` with the recording's name. Nothing here needs a test framework.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
from msgspec import Struct

from joulegate.model import Asked, JobSign, ServerTimings, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, JobObserver, Observer, ResponseFilter, Rewrite
from joulegate.testing.websocket import hear
from joulegate.units import Nanoseconds


class Exchange(Struct, frozen=True):
    """``request.json``."""

    origin: str
    method: str
    path: str
    headers: list[tuple[str, str]]
    status: int
    response_headers: list[tuple[str, str]]
    body: str = ""
    body_base64: str = ""
    volatile: list[str] = []


class Expected(Struct, frozen=True, omit_defaults=True):
    """``facts.json``: what an observer says after a whole exchange."""

    route: str
    task: Task = Task.UNKNOWN
    work: WorkClass = WorkClass.INFERENCE
    asked: Asked = Asked()
    facts: TaskFacts = TaskFacts()
    timings: ServerTimings = ServerTimings()
    model: str | None = None
    streamed: bool = False
    content_bytes: int = 0
    rewritten: bool = False
    """The request is sent on with usage asked for."""
    jobs: tuple[JobSign, ...] = ()
    """What it says of jobs."""


class Recording(Struct, frozen=True):
    """One recorded exchange."""

    name: str
    exchange: Exchange
    request: bytes
    response: bytes
    direct: bytes | None
    expected: Expected | None

    def __repr__(self) -> str:
        return f"Recording({self.name})"


def recordings(folder: Path) -> list[Recording]:
    """Return the recordings of one protocol in the order of their names."""
    return [_load(path.parent) for path in sorted(folder.glob("*/request.json"))]


def _load(folder: Path) -> Recording:
    exchange = msgspec.json.decode((folder / "request.json").read_bytes(), type=Exchange)
    facts, direct = folder / "facts.json", folder / "direct.bin"
    return Recording(
        name=f"{folder.parent.name}/{folder.name}",
        exchange=exchange,
        request=exchange.body.encode() or base64.b64decode(exchange.body_base64),
        response=(folder / "response.bin").read_bytes(),
        direct=direct.read_bytes() if direct.exists() else None,
        expected=msgspec.json.decode(facts.read_bytes(), type=Expected) if facts.exists() else None,
    )


# --- replaying -----------------------------------------------------------------------------------------


def observe(
    plugin: InferenceProtocol,
    recording: Recording,
    *,
    request: Sequence[bytes] | None = None,
    response: Sequence[bytes] | None = None,
    complete: bool = True,
) -> Expected:
    """Replay an exchange in the given pieces and return what the observer says of it."""
    exchange = recording.exchange
    route = plugin.matches(exchange.method, exchange.path)
    _require(route is not None, recording, f"{exchange.method} {exchange.path} has no route")
    if route is None:
        raise AssertionError
    observer = plugin.observer(route, _raw(exchange.headers))
    sent = [recording.request] if request is None else request
    for piece in sent if exchange.status != 101 else ():
        observer.request_body(piece)
    asked = observer.asked()
    rewrite = observer.rewrite(recording.request) if route.reads_body and recording.request else None
    observer.response_head(exchange.status, _raw(exchange.response_headers))
    received = [recording.response] if response is None else response
    content = _relay(observer, received if exchange.status != 101 else ())
    if exchange.status == 101:
        hear(observer, _raw(exchange.response_headers), sent, received)
    observer.response_end(complete=complete)
    facts = observer.facts()
    return Expected(
        route=route.name,
        task=asked.task or route.task,
        work=facts.work or asked.work or route.work,
        asked=asked,
        facts=facts,
        timings=observer.timings(),
        model=observer.model(),
        streamed=observer.streamed(),
        content_bytes=content,
        rewritten=rewrite is not None,
        jobs=tuple(observer.jobs()) if isinstance(observer, JobObserver) else (),
    )


def rewrite_of(plugin: InferenceProtocol, recording: Recording) -> Rewrite | None:
    """Return what the observer sends in place of the client's request."""
    route = plugin.matches(recording.exchange.method, recording.exchange.path)
    if route is None:
        return None
    observer = plugin.observer(route, _raw(recording.exchange.headers))
    observer.request_body(recording.request)
    return observer.rewrite(recording.request)


def pieces(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut a body at these places."""
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(places)]


# --- checks --------------------------------------------------------------------------------------------


def check_facts(plugin: InferenceProtocol, recording: Recording) -> None:
    """The observer says what ``facts.json`` says."""
    _require(recording.expected is not None, recording, "has no facts.json")
    _same(recording, "facts", observe(plugin, recording), recording.expected)


def check_chunking(plugin: InferenceProtocol, recording: Recording, cuts: Sequence[int]) -> None:
    """Facts and content bytes are the same however the bodies are cut."""
    cut = observe(
        plugin,
        recording,
        request=pieces(recording.request, cuts),
        response=pieces(recording.response, cuts),
    )
    _same(recording, f"facts in pieces cut at {list(cuts)}", cut, recording.expected)


def check_truncation(plugin: InferenceProtocol, recording: Recording, at: int) -> None:
    """A cut answer raises nothing, has no more content than the whole one, and is told alike in pieces."""
    body = recording.response[: at % (len(recording.response) + 1)]
    short = observe(plugin, recording, response=[body], complete=False)
    pieced = observe(plugin, recording, response=pieces(body, range(0, len(body), 7)), complete=False)
    _same(recording, f"facts of the first {len(body)} bytes in pieces", pieced, short)
    whole = recording.expected.content_bytes if recording.expected else 0
    _require(short.content_bytes <= whole, recording, "a cut answer has more content")


def check_garbage(plugin: InferenceProtocol, recording: Recording, garbage: bytes, at: int) -> None:
    """Garbage in either body raises nothing."""
    request, response = recording.request, recording.response
    observe(plugin, recording, request=[_damaged(request, garbage, at)])
    observe(plugin, recording, response=[_damaged(response, garbage, at)])
    observe(plugin, recording, response=[garbage])
    _rewrites_nothing_broken(plugin, recording, _damaged(request, garbage, at))


def check_transparency(plugin: InferenceProtocol, recording: Recording, cuts: Sequence[int]) -> None:
    """The client of a rewritten request gets the bytes of a direct run."""
    strip = _strip_of(plugin, recording)
    got = b"".join([*map(strip.feed, pieces(recording.response, cuts)), strip.finish()])
    _require(recording.direct is not None, recording, "has no direct.bin")
    _same(recording, "bytes", _stable(recording, got), _stable(recording, recording.direct or b""))


def check_cut_stream(plugin: InferenceProtocol, recording: Recording, at: int) -> None:
    """A rewritten stream that breaks off loses nothing but whole events of usage."""
    body = recording.response[: at % (len(recording.response) + 1)]
    strip = _strip_of(plugin, recording)
    got = strip.feed(body) + strip.finish()
    if not _moves(body):
        _same(recording, f"the first {len(body)} bytes", got, _without_usage(body))


def _without_usage(body: bytes) -> bytes:
    events = body.split(b"\n\n")
    last = len(events) - 1
    kept = [event + b"\n\n" * (at < last) for at, event in enumerate(events) if not _is_usage(event)]
    return b"".join(kept)


def _moves(body: bytes) -> bool:
    """Whether what an event of usage held goes back to the one before it: timings, vLLM's fingerprint."""
    held = [event for event in body.split(b"\n\n") if _is_usage(event)]
    return b'"timings"' in body or any(b'"system_fingerprint"' in event for event in held)


def _is_usage(event: bytes) -> bool:
    try:
        document = msgspec.json.decode(event.removeprefix(b"data: "), type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError):
        return False
    return document.get("choices") == [] and isinstance(document.get("usage"), dict)


def _strip_of(plugin: InferenceProtocol, recording: Recording) -> ResponseFilter:
    rewrite = rewrite_of(plugin, recording)
    if rewrite is None or rewrite.strip is None:
        raise AssertionError(f"{recording.name}: the request is not rewritten")
    return rewrite.strip


def check_names(plugin: InferenceProtocol) -> None:
    """Methods and paths that no server has raise nothing."""
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        for path in ("", "/", "*", "//", "/%00", "/v1", "/v1/", "/" * 1000, "/é", "/v1/" + "a/" * 500):
            plugin.matches(method, path)


def _relay(observer: Observer, body: Sequence[bytes]) -> int:
    return sum(observer.response_body(Nanoseconds(at), piece) for at, piece in enumerate(body))


def _raw(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def _damaged(body: bytes, garbage: bytes, at: int) -> bytes:
    place = at % (len(body) + 1)
    return body[:place] + garbage + body[place + len(garbage) :]


def _rewrites_nothing_broken(plugin: InferenceProtocol, recording: Recording, body: bytes) -> None:
    rewrite = rewrite_of(plugin, msgspec.structs.replace(recording, request=body))
    if rewrite is not None:
        _require(_is_json(body) and _is_json(rewrite.body), recording, f"{body!r} was rewritten")


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _stable(recording: Recording, body: bytes) -> bytes:
    for pattern in recording.exchange.volatile:
        body = re.sub(pattern.encode(), b"~", body)
    return body


def _require(condition: bool, recording: Recording, message: str) -> None:
    if not condition:
        raise AssertionError(f"{recording.name}: {message}")


def _same(recording: Recording, what: str, got: object, wanted: object) -> None:
    _require(got == wanted, recording, f"{what} differ:\n  got    {got!r}\n  wanted {wanted!r}")


def every(folder: Path, protocols: Sequence[str]) -> Iterator[tuple[str, Recording]]:
    """Return every recording of these protocols with the protocol's name; one without any is an error."""
    for protocol in protocols:
        found = recordings(folder / protocol)
        if not found:
            raise AssertionError(f"the protocol {protocol} has no recording under {folder}")
        for recording in found:
            yield protocol, recording
