"""How long a sound is, by the head of its file and its size: WAV files and bare samples.

WAV is RIFF with a ``fmt`` and a ``data`` chunk (https://www.rfc-editor.org/rfc/rfc2361 and Microsoft's
"Multimedia Programming Interface and Data Specifications 1.0"). Compressed formats do not say.
"""

import re
import struct

from joulegate.framing.scan import HEAD, Found
from joulegate.model import Fact, FactSource
from joulegate.units import NANO, Nanoseconds

_WAVES = frozenset({b"audio/wav", b"audio/x-wav", b"audio/wave", b"audio/vnd.wave"})
_SAMPLES = frozenset({b"audio/pcm", b"audio/l16"})
_PARAMETER = re.compile(rb";\s*(rate|channels)=(\d{1,7})", re.IGNORECASE)
_RATE = 24_000
"""Samples a second of OpenAI's ``pcm``, of 16 bits each, one channel
(https://platform.openai.com/docs/guides/text-to-speech#supported-output-formats)."""
_LONGEST = 10**6
"""Seconds; more is no recording."""


class SoundPeek:
    """Counts the seconds of a body that is a sound itself: ``found`` has them as ``sound.nanoseconds``."""

    def __init__(self, content_type: bytes) -> None:
        self._content_type = content_type
        self._head = bytearray()
        self._size = 0

    @staticmethod
    def reads(media: bytes) -> bool:
        """Whether sounds of this media type tell their length."""
        return media in _WAVES or media in _SAMPLES

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the file."""
        self._head += chunk[: HEAD - len(self._head)]
        self._size += len(chunk)

    def found(self) -> Found:
        """Return the length, where the file says enough."""
        media = self._content_type.partition(b";")[0].strip().lower()
        length = wave_length(bytes(self._head), self._size) if media in _WAVES else self._samples()
        return Found({} if length is None else {"sound.nanoseconds": b"%d" % length}, {})

    def _samples(self) -> Nanoseconds | None:
        said = {name.lower(): int(number) for name, number in _PARAMETER.findall(self._content_type)}
        return _length(self._size, said.get(b"rate", _RATE) * said.get(b"channels", 1) * 2)


def wave_length(head: bytes, size: int) -> Nanoseconds | None:
    """Return the length of a WAV file of so many bytes by its first ones.

    A file that was written as a stream does not know its own size: then what is there counts.
    """
    if not (head.startswith(b"RIFF") and head[8:12] == b"WAVE"):
        return None
    at, bytes_a_second = 12, 0
    while at + 8 <= len(head):
        kind, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8
        if kind == b"data":
            return _length(min(length, size - at), bytes_a_second)
        if kind == b"fmt " and at + 12 <= len(head):
            (bytes_a_second,) = struct.unpack_from("<I", head, at + 8)
        at += length + length % 2
    return None


def heard(found: Found, source: FactSource = FactSource.DERIVED) -> Fact | None:
    """Return the length that a peek has found."""
    raw = found.members.get("sound.nanoseconds")
    return None if raw is None else Fact(int(raw), source)


def _length(size: int, bytes_a_second: int) -> Nanoseconds | None:
    if bytes_a_second <= 0 or size < 0 or size > _LONGEST * bytes_a_second:
        return None
    return Nanoseconds(size * NANO // bytes_a_second)
