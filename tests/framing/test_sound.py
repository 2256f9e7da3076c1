"""The length of a sound stands in the head of its file."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing import SoundPeek
from joulegate.framing.sound import heard, wave_length
from joulegate.model import Fact, FactSource

FORMAT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
SECOND = 10**9


def wave(samples: int, *, extra: bytes = b"", said: int | None = None) -> bytes:
    """Give a WAV file of 32,000 bytes a second."""
    data = b"data" + struct.pack("<I", samples if said is None else said) + bytes(samples)
    return (
        b"RIFF"
        + struct.pack("<I", 4 + len(FORMAT) + len(extra) + len(data))
        + b"WAVE"
        + FORMAT
        + extra
        + data
    )


@pytest.mark.parametrize(
    ("file", "length"),
    [
        (wave(48_000), SECOND * 3 // 2),
        (wave(0), 0),
        (wave(32_000, extra=b"LIST" + struct.pack("<I", 3) + b"abc\0"), SECOND),
        (wave(32_000, said=0xFFFFFFFF), SECOND),
        (wave(32_000)[:-16_000], SECOND // 2),
        (b"ID3" + wave(32_000), None),
        (wave(32_000)[:40], None),
        (b"RIFF\0\0\0\0WAVEdata\1\0\0\0x", None),
    ],
)
def test_a_wave_file_tells_its_length(file: bytes, length: int | None) -> None:
    """Whatever chunks it has; one that was written as a stream, or broke off, is as long as it is."""
    assert wave_length(file[:4096], len(file)) == length


@pytest.mark.parametrize(
    ("media", "length"),
    [
        (b"audio/pcm", SECOND),
        (b"audio/pcm;rate=48000", SECOND // 2),
        (b"audio/L16; rate=24000; channels=2", SECOND // 2),
        (b"audio/pcm;rate=0", None),
    ],
)
def test_bare_samples_are_counted(media: bytes, length: int | None) -> None:
    """16 bits each; rate and channels as the media type says, else OpenAI's."""
    peek = SoundPeek(media)
    for _ in range(48):
        peek.feed(bytes(1000))
    assert heard(peek.found()) == (None if length is None else Fact(length, FactSource.DERIVED))


@given(cut=st.integers(1, 5000))
def test_a_file_in_pieces_is_as_long(cut: int) -> None:
    """Only its beginning is kept."""
    file, peek = wave(32_000), SoundPeek(b"audio/x-wav; codecs=1")
    for at in range(0, len(file), cut):
        peek.feed(file[at : at + cut])
    assert peek.found().members == {"sound.nanoseconds": b"1000000000"}


@given(head=st.binary(max_size=60), size=st.integers(0, 10**12))
def test_garbage_raises_nothing(head: bytes, size: int) -> None:
    """Whatever stands behind the marks of a file."""
    for prefix in (
        b"",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVE" + FORMAT,
        b"RIFF\0\0\0\0WAVE" + FORMAT + b"data",
    ):
        length = wave_length(prefix + head, size)
        assert length is None or length >= 0
