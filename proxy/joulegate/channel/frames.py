"""The frames between a gate and a meter, as bytes: no transport, no clock, no meaning of the events.

A frame is a big-endian u32 length and that many bytes of MessagePack. The gate says ``Hello``; the meter
answers ``Welcome`` or ``RefusedConnection``. Then the gate sends ``Events`` and ``ReportFrame``, at last
``Goodbye``, and the meter ``SettledSpans``, ``Figures`` and ``Limits``. Every half second the meter sends
``Ping`` and the gate answers ``Pong``: by that each end knows that the other lives. Frames and fields that an
end does not know are passed over and counted, so a new one needs no new version.
"""

import struct
from collections.abc import Iterable, Sequence
from enum import Enum, StrEnum
from typing import TypeAlias, TypeVar, cast, get_args

import msgspec
from msgspec import Raw, Struct

from joulegate.channel.packing import PackedChunks, packed_chunks
from joulegate.errors import JoulegateError
from joulegate.model import (
    Figures,
    GateReport,
    Limits,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanId,
    SpanOpened,
)
from joulegate.units import Nanoseconds

VERSION = 2
"""Version of this language. It rises only where an older end would misread what a newer one says."""
MAX_FRAME = 1 << 20
"""Longest body in bytes. A length beyond it is garbage: honest gates batch far below."""
MAX_EVENT = MAX_FRAME // 2
"""Longest event in bytes that a sender may put into a frame."""
MAX_TEXT = 1024
"""Longest text in an event that is too large as it is, in characters."""
SETTLED_IDS = 4096
"""Ids in one ``SettledSpans`` frame: far below ``MAX_FRAME`` for ids of up to 200 bytes."""

_HEAD = struct.Struct(">I")
_LARGEST = 2**63 - 1


class RefusalReason(StrEnum):
    """Why an end does not talk with another."""

    VERSION = "version"
    NAME = "name"
    """Another gate of this name is connected."""
    ORDER = "order"
    """Sequence numbers did not rise."""
    CLOCK = "clock"
    """What the gate says of its clock makes no sense, or it says nothing of it."""
    SILENT = "silent"
    GARBAGE = "garbage"


class FrameError(JoulegateError):
    """The other end does not speak this language: close the connection and count it."""

    def __init__(self, message: str, reason: RefusalReason = RefusalReason.GARBAGE) -> None:
        super().__init__(message)
        self.reason = reason


class Hello(Struct, frozen=True, tag="hello"):
    """First frame of a gate. ``instance`` is new for each process: its sequence numbers begin anew."""

    instance: str
    report: GateReport
    version: int = 1
    """The first version did not say it."""
    clock: str = ""
    """Identity of the clock that its times are read from; empty if it is not known."""


class Whole(Struct, frozen=True, tag="whole", gc=False):
    """A request from beginning to end."""

    opened: SpanOpened
    closed: SpanClosed

    @property
    def id(self) -> SpanId:
        """Identity of the request."""
        return self.opened.id


class Events(Struct, frozen=True, tag="events"):
    """Events in the order of their sequence numbers, each as its own MessagePack."""

    items: list[tuple[int, Raw]]


class ReportFrame(Struct, frozen=True, tag="report"):
    """The gate's own figures."""

    report: GateReport


class Pong(Struct, frozen=True, tag="pong", gc=False):
    """The gate's answer, at once, to ``Welcome`` and to each ``Ping``."""

    asked: Nanoseconds
    """What the meter's clock said, as the meter sent it."""
    answered: Nanoseconds
    """What the gate's clock says."""


class Goodbye(Struct, frozen=True, tag="goodbye"):
    """The gate ends of its own accord and has no open spans."""


class Welcome(Struct, frozen=True, tag="welcome"):
    """The meter's answer to ``Hello``; ``instance`` is new for each meter process."""

    instance: str
    version: int = 1
    t: Nanoseconds = Nanoseconds(0)
    """The meter's clock: a welcome is the first ping."""


class RefusedConnection(Struct, frozen=True, tag="refused"):
    """Why the meter closes the connection."""

    reason: str


class Ping(Struct, frozen=True, tag="ping", gc=False):
    """The meter lives, and asks what the gate's clock says."""

    t: Nanoseconds


class SettledSpans(Struct, frozen=True, tag="settled"):
    """Spans that the gate may forget."""

    ids: list[SpanId]


GateFrame: TypeAlias = Hello | Events | ReportFrame | Pong | Goodbye
MeterFrame: TypeAlias = Welcome | RefusedConnection | Ping | SettledSpans | Figures | Limits

_ENCODER = msgspec.msgpack.Encoder()
_GATE_FRAMES: msgspec.msgpack.Decoder[GateFrame] = msgspec.msgpack.Decoder(GateFrame)
_METER_FRAMES: msgspec.msgpack.Decoder[MeterFrame] = msgspec.msgpack.Decoder(MeterFrame)
_EVENTS: msgspec.msgpack.Decoder[SpanEvent | Whole | PackedChunks] = msgspec.msgpack.Decoder(
    SpanEvent | Whole | PackedChunks
)


def pack(frame: GateFrame | MeterFrame) -> bytes:
    """Return a frame with its length, ready to be written."""
    body = _ENCODER.encode(frame)
    return _HEAD.pack(len(body)) + body


def unpack_gate(body: bytes) -> GateFrame | None:
    """Return the frame that a gate sent, ``None`` if it is of an unknown kind. Raises ``FrameError``."""
    return _unpack_known(_GATE_FRAMES, body)


def unpack_meter(body: bytes) -> MeterFrame | None:
    """Return the frame that a meter sent, ``None`` if it is of an unknown kind. Raises ``FrameError``."""
    return _unpack_known(_METER_FRAMES, body)


def unknown_parts(body: bytes, frame: Struct | None) -> int:
    """Return what was passed over in reading a frame: the frame itself, or so many of its fields."""
    if frame is None:
        return 1
    known = len(frame.__struct_fields__) + 1  # its kind is a field too
    return max(0, _fields_in(body) - known)


def version_problem(version: int, other: str) -> str | None:
    """Return why one cannot talk with an end of this version, ``None`` if one can."""
    if version == VERSION:
        return None
    return (
        f"the {other} speaks version {version} of the channel and this end version {VERSION}: "
        f"run the same joulegate on both"
    )


def pack_event(event: SpanEvent | Whole) -> bytes:
    """Return an event as MessagePack of at most ``MAX_EVENT`` bytes.

    What a hostile client or server put into it may not be sendable (lone surrogates, integers beyond 64
    bits, a model name of 1 MB): then it is tamed, not lost. Raises ``FrameError`` if even that is too long.
    """
    try:
        packed = _ENCODER.encode(packed_chunks(event) if isinstance(event, SpanChunks) else event)
    except (UnicodeEncodeError, OverflowError):
        packed = _ENCODER.encode(_tamed(event))
    if len(packed) > MAX_EVENT:
        packed = _ENCODER.encode(_tamed(event))
    if len(packed) > MAX_EVENT:
        raise FrameError(f"an event of {len(packed)} bytes is longer than {MAX_EVENT}")
    return packed


def unpack_event(packed: Raw | bytes) -> SpanEvent | Whole:
    """Read one event. Raises ``FrameError``, for example for a kind of event that this version lacks."""
    event = _unpack(_EVENTS, packed)
    if not isinstance(event, PackedChunks):
        return event
    try:
        return event.chunks()
    except ValueError as error:
        raise FrameError(f"not an event of this channel: {error}") from error


def settled_frames(ids: Iterable[SpanId]) -> Sequence[bytes]:
    """Return frames that say that these spans are settled, each within the bound."""
    rest = list(ids)
    return [pack(SettledSpans(rest[at : at + SETTLED_IDS])) for at in range(0, len(rest), SETTLED_IDS)]


class FrameSplitter:
    """Cuts a stream of bytes, in pieces of any size, into the bodies of its frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Accept bytes; return bodies that are whole now. Raises ``FrameError`` at an impossible length."""
        self._held += data
        bodies: list[bytes] = []
        at = 0
        while (end := self._end(at)) is not None:
            bodies.append(bytes(self._held[at + _HEAD.size : end]))
            at = end
        del self._held[:at]
        return bodies

    def _end(self, at: int) -> int | None:
        """Return where the frame at this place ends, or ``None`` if it is not whole yet."""
        if len(self._held) - at < _HEAD.size:
            return None
        length = cast(int, _HEAD.unpack_from(self._held, at)[0])
        if not 0 < length <= MAX_FRAME:
            raise FrameError(f"a frame of {length} bytes; 1 to {MAX_FRAME} are possible")
        end = at + _HEAD.size + length
        return end if end <= len(self._held) else None


T = TypeVar("T")


class _Kind(Struct):
    """What every frame says of itself."""

    type: str


_KIND = msgspec.msgpack.Decoder(_Kind)
_KINDS = frozenset(frame.__struct_config__.tag for frame in get_args(GateFrame | MeterFrame))
"""Of both ends: what only the other one may say is refused."""


def _unpack_known(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T | None:
    try:
        return _unpack(decoder, body)
    except FrameError:
        if _unpack(_KIND, body).type in _KINDS:
            raise
        return None


def _fields_in(body: bytes) -> int:
    """Return how many fields a map in MessagePack begins with."""
    if body[0] == _MAP16:
        return int.from_bytes(body[1:3], "big")
    return body[0] & 0x0F


_MAP16 = 0xDE
"""First byte of a map of 16 to 65,535 fields; one of fewer carries their number in its first byte."""


def _unpack(decoder: msgspec.msgpack.Decoder[T], body: Raw | bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"not a frame of this channel: {error}") from error


def _tamed(value: object) -> object:
    """Return the same value with short, encodable texts and 64-bit integers."""
    match value:
        case Enum() | bool() | None:
            return value
        case str():
            return value[:MAX_TEXT].encode("utf-8", "replace").decode()
        case int():
            return max(-_LARGEST, min(value, _LARGEST))
        case list():
            return [_tamed(item) for item in value]
        case tuple():
            return tuple([_tamed(item) for item in value])
        case Struct():
            return type(value)(*(_tamed(getattr(value, name)) for name in value.__struct_fields__))
        case _:
            return value
