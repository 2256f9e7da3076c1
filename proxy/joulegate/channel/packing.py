"""Chunks of a stream as packed integers: five bytes each where MessagePack takes ten.

A gate keeps the events of every stream until it is settled, so their size counts more than the time to pack
them. What does not fit goes as it is.
"""

from itertools import accumulate
from operator import sub
from struct import error, pack, unpack
from typing import cast

from msgspec import Struct

from joulegate.model import SpanChunks, SpanId
from joulegate.units import Nanoseconds

GAP = 4
"""Bytes of the time since the chunk before in ns, signed: two seconds and a little."""


class PackedChunks(Struct, frozen=True, tag="packed", gc=False):
    """``SpanChunks`` in few bytes: little-endian gaps of 4 bytes, and sizes of one byte or four."""

    id: SpanId
    t: Nanoseconds
    """Arrival of the first."""
    gaps: bytes
    sizes: bytes

    def chunks(self) -> SpanChunks:
        """Return the chunks. Raises ``ValueError`` if gaps and sizes do not belong together."""
        count = len(self.gaps) // GAP + 1
        form = "B" if len(self.sizes) == count else "I"
        try:
            gaps = unpack(f"<{count - 1}i", self.gaps)
            sizes = unpack(f"<{count}{form}", self.sizes)
        except error as problem:
            raise ValueError(f"gaps and sizes of chunks do not belong together: {problem}") from problem
        times = cast(list[Nanoseconds], list(accumulate(gaps, initial=self.t)))
        return SpanChunks(self.id, times, list(sizes))


def packed_chunks(event: SpanChunks) -> PackedChunks | SpanChunks:
    """Return the same chunks packed, if they fit."""
    times, sizes = event.times, event.sizes
    if not times or len(times) != len(sizes):
        return event
    gaps = map(sub, times[1:], times)
    form = "B" if max(sizes) < 256 else "I"
    try:
        return PackedChunks(
            event.id, times[0], pack(f"<{len(times) - 1}i", *gaps), pack(f"<{len(sizes)}{form}", *sizes)
        )
    except error:
        return event
