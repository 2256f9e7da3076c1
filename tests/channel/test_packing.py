"""Chunks in few bytes."""

from itertools import accumulate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.channel.frames import FrameError, pack_event, unpack_event
from joulegate.channel.packing import PackedChunks, packed_chunks
from joulegate.model import SpanChunks, SpanId
from joulegate.units import Nanoseconds

ID = SpanId("r-1")
gaps = st.integers(-(2**33), 2**33) | st.integers(0, 40_000_000)
sizes = st.integers(0, 300) | st.integers(-5, 2**33)


@given(st.integers(0, 2**60), st.lists(st.tuples(gaps, sizes), max_size=80))
def test_chunks_come_out_as_they_went_in(first: int, rest: list[tuple[int, int]]) -> None:
    """Whatever their gaps and sizes are: what cannot be packed goes as it is."""
    times = list(accumulate((gap for gap, _ in rest), initial=first))[1:]
    event = SpanChunks(ID, [Nanoseconds(t) for t in times], [size for _, size in rest])

    assert unpack_event(pack_event(event)) == event


def test_a_usual_chunk_takes_five_bytes() -> None:
    """Half of what it takes as a list."""
    event = SpanChunks(ID, [Nanoseconds(10**15 + i * 20_000_000) for i in range(64)], [4] * 64)

    assert isinstance(packed_chunks(event), PackedChunks)
    assert len(pack_event(event)) < 64 * 5 + 60


@pytest.mark.parametrize(("between", "size"), [(1, 2), (4, 1), (5, 2), (8, 5)])
def test_what_does_not_fit_together_is_refused(between: int, size: int) -> None:
    """Damage is found, never believed."""
    damaged = PackedChunks(ID, Nanoseconds(1), b"x" * between, b"y" * size)

    with pytest.raises(ValueError, match="belong together"):
        damaged.chunks()


def test_damage_is_the_other_ends_fault() -> None:
    """It is counted as such, and the connection goes on."""
    with pytest.raises(FrameError):
        unpack_event(msgspec.msgpack.encode(PackedChunks(ID, Nanoseconds(1), b"xyz", b"")))
