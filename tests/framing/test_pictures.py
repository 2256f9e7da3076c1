"""The size of a picture stands in the first bytes of its file."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing import PicturePeek, Scanner, size_in
from joulegate.framing.pictures import size_of

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + b"\x08\x02\0\0\0"
GIF = b"GIF89a" + struct.pack("<HH", 640, 480) + b"\x80\0\0"
JPEG = (
    b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0\1\1\0\0\1\0\1\0\0"
    b"\xff\xdb" + struct.pack(">H", 67) + bytes(65)
    + b"\xff\xc2" + struct.pack(">HBHH", 17, 8, 480, 640) + b"\3"
)  # fmt: skip
RIFF = b"RIFF" + struct.pack("<I", 99) + b"WEBP"
VP8 = RIFF + b"VP8 " + struct.pack("<I", 9) + b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480)
VP8L = RIFF + b"VP8L" + struct.pack("<I", 9) + b"\x2f" + struct.pack("<I", 639 | 479 << 14)
VP8X = RIFF + b"VP8X" + struct.pack("<II", 10, 0) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
FILES = [PNG, GIF, JPEG, VP8, VP8L, VP8X]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("prefix", [b"", b"data:image/png;base64,"])
def test_sizes_are_read_from_files_and_from_base64(file: bytes, prefix: bytes) -> None:
    """Each format, as a file, in pieces, and as the string of a JSON answer."""
    assert size_of(file) == (640, 480)
    text = b'"' + prefix + base64.b64encode(file + bytes(100)) + b'"'
    assert size_in(text) == (640, 480)
    peek = PicturePeek()
    for at in range(0, len(file), 5):
        peek.feed(file[at : at + 5])
    assert peek.found() == ({"picture.width": b"640", "picture.height": b"480"}, {"pictures": 1})


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_breaks_off_has_no_size(file: bytes) -> None:
    """No size is better than a wrong one."""
    assert {size_of(file[:end]) for end in range(len(file))} <= {None, (640, 480)}


@given(head=st.binary(max_size=60), file=st.sampled_from(FILES))
def test_garbage_raises_nothing(head: bytes, file: bytes) -> None:
    """Whatever comes, alone or behind the mark of a format."""
    for start in (0, 2, 8, 12, 16):
        size_of(file[:start] + head)
        size_in(b'"' + file[:start] + head)


def test_no_picture_counts_none() -> None:
    """An empty answer is no picture, and a picture of no extent has no size."""
    assert PicturePeek().found() == ({}, {})
    assert size_of(PNG[:16] + bytes(8)) is None
    assert size_in(None) is None


@pytest.mark.parametrize("cut", [1, 100, 5_000, 70_000])
def test_the_beginning_of_a_long_value_is_kept(cut: int) -> None:
    """A picture of a megabyte in an answer tells its size, and what follows it is found too."""
    image = base64.b64encode(PNG + bytes(1_000_000))
    text = b'{"data":[{"b64_json":"' + image + b'"}],"model":"m"}'
    scanner = Scanner({"model"}, {"data"}, {"data.0.b64_json"})
    for at in range(0, min(len(text), 50 * cut), cut):
        scanner.feed(text[at : at + cut])
    scanner.feed(text[min(len(text), 50 * cut) :])
    assert size_in(scanner.found.members["data.0.b64_json"]) == (640, 480)
    assert len(scanner.found.members["data.0.b64_json"]) <= 4096
    assert (scanner.found.members["model"], scanner.found.counts) == (b'"m"', {"data": 1})
