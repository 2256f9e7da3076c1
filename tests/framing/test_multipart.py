"""Fields of forms are found between files that nobody keeps."""

import itertools
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing import MultipartPeek

TYPE = b'multipart/form-data; boundary="--x y"'
WANTED = ("model", "n")


def form(*parts: tuple[bytes, bytes]) -> bytes:
    return (
        b"".join(b"----x y\r\n" + head + b"\r\n\r\n" + value + b"\r\n" for head, value in parts)
        + b"----x y--\r\n"
    )


def field(name: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"'


FILE = b'Content-Disposition: form-data; name="model"; filename="a.png"\r\nContent-Type: image/png'
BODY = form(
    (FILE, b"\r\n----x \r\n\r\n--" * 9), (field(b"model"), b"sd-3"), (field(b"n"), b""), (field(b"x"), b"y")
)


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=20))
def test_fields_are_found_whatever_the_chunking(cuts: list[int]) -> None:
    """Wanted text fields come out as JSON strings; files and other fields do not."""
    peek = MultipartPeek(TYPE, WANTED)
    places = sorted({0, len(BODY), *cuts})
    for start, end in itertools.pairwise(places):
        peek.feed(BODY[start:end])
    assert peek.found().members == {"model": b'"sd-3"', "n": b'""'}


def test_a_file_is_no_field() -> None:
    """A file that goes by a wanted name does not take the field's place."""
    peek = MultipartPeek(TYPE, WANTED)
    peek.feed(form((field(b"model"), b"sd-3"), (FILE, b"pixels")))
    assert peek.found().members == {"model": b'"sd-3"'}


def test_a_large_file_is_not_kept() -> None:
    """An upload of 32 MiB passes in constant memory, and the field behind it is found."""
    head, _, tail = form((FILE, b"@"), (field(b"n"), b"3")).partition(b"@")
    peek = MultipartPeek(TYPE, WANTED)
    piece = b"\r\n--" * 16_384
    tracemalloc.start()
    peek.feed(head)
    for _ in range(512):
        peek.feed(piece)
    peek.feed(tail)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(piece)
    assert peek.found().members == {"n": b'"3"'}


def test_a_field_that_is_no_field_is_dropped() -> None:
    """A model's name of a megabyte is absent, and the next field is found."""
    peek = MultipartPeek(TYPE, WANTED)
    peek.feed(form((field(b"model"), b"m" * 2**20), (field(b"n"), b"1")))
    assert peek.found().members == {"n": b'"1"'}


@given(garbage=st.binary(max_size=200))
def test_garbage_finds_nothing(garbage: bytes) -> None:
    """A body without the announced boundary has no fields; nor has one without any announced."""
    for content_type in (TYPE, b"multipart/form-data"):
        peek = MultipartPeek(content_type, WANTED)
        peek.feed(garbage)
        assert peek.found().members == {}


def test_an_endless_head_is_given_up() -> None:
    """A part whose head never ends takes no memory."""
    peek = MultipartPeek(TYPE, WANTED)
    peek.feed(b"----x y\r\n" + b"a: b\r\n" * 20_000)
    peek.feed(b"\r\n\r\nx\r\n" + form((field(b"n"), b"1")))
    assert peek.found().members == {}


@given(cuts=st.lists(st.integers(0, 400), max_size=9), other=st.booleans())
def test_the_beginning_and_the_size_of_a_file_are_kept(cuts: list[int], other: bool) -> None:
    """If it is asked for, however it is cut; a field of that name is no file."""
    mark = b"--b\r\nContent-Disposition: form-data; name="
    file = b"\r\n\0" * 50
    head = b'"sound"' + (b"" if other else b'; filename="a.wav"') + b"\r\n\r\n"
    body = mark + head + file + b"\r\n" + mark + b'"n"\r\n\r\n2\r\n--b--\r\n'
    places = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    peek = MultipartPeek(b"multipart/form-data; boundary=b", ["n"], ["sound"])
    for start, end in itertools.pairwise(places):
        peek.feed(body[start:end])
    told = {} if other else {"sound": file}
    assert peek.found() == ({"n": b'"2"', **told}, {name: len(file) for name in told})


def test_no_more_than_the_beginning_of_a_file_is_kept() -> None:
    """A recording of an hour is as long in memory as one of a second."""
    peek = MultipartPeek(b"multipart/form-data; boundary=b", [], ["f"])
    peek.feed(b'--b\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n')
    for _ in range(100):
        peek.feed(bytes(10_000))
    peek.feed(b"\r\n--b--")
    members, counts = peek.found()
    assert (len(members["f"]), counts) == (4096, {"f": 1_000_000})
