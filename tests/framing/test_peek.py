"""Small documents are decoded, large ones scanned, and of some bodies only the head is read."""

import itertools
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.framing import HeadPeek, JsonPeek, PointerPeek
from joulegate.framing.peek import DECODED

WANTED = frozenset({"model", "usage", "n", "response.usage"})
COUNTED = frozenset({"data"})


@pytest.mark.parametrize("chunk", [1000, 65_536, 1_000_001])
def test_an_image_of_50_mib_passes_in_constant_memory(chunk: int) -> None:
    """The members behind it are found, and no copy of it is made."""
    image = b"QUJD" * (50 * 1024 * 256 // 4)
    parts = [
        b'{"created":1,"data":[{"b64_json":"',
        *[image] * 4,
        b'"},{"b64_json":"x"}],"usage":{"n":1},"model":"m"}',
    ]
    peek = JsonPeek(WANTED, COUNTED)
    tracemalloc.start()
    for part in parts:
        for at in range(0, len(part), chunk):
            peek.feed(part[at : at + chunk])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * max(chunk, DECODED)
    assert peek.found().members == {"usage": b'{"n":1}', "model": b'"m"'}
    assert peek.found().counts == {"data": 2}


def test_a_value_of_a_megabyte_is_absent() -> None:
    """A model's name of that size is kept nowhere."""
    peek = JsonPeek(WANTED)
    for _ in range(20):
        peek.feed(b'{"n":2,"model":"' + b"m" * 60_000)
    assert peek.found().members == {"n": b"2"}


def test_an_unfinished_document_gives_what_is_complete() -> None:
    """A number that may go on is not taken for the whole number."""
    peek = JsonPeek(WANTED)
    peek.feed(b'{"model":"m","n":1')
    assert peek.found().members == {"model": b'"m"'}


def test_places_in_arrays_are_found_both_ways() -> None:
    """The shape of a tensor is found whether the document is small or large."""
    paths = frozenset({"inputs.1.shape", "inputs.7.shape"})
    for padding in ("", "x" * 2 * DECODED):
        document = {"id": padding, "inputs": [{"shape": [1]}, {"name": "b", "shape": [4, 3]}]}
        peek = JsonPeek(paths, frozenset({"inputs", "inputs.1.shape"}))
        peek.feed(json.dumps(document).encode())
        assert peek.found().members == {"inputs.1.shape": b"[4, 3]"}
        assert peek.found().counts == {"inputs": 2, "inputs.1.shape": 2}


@pytest.mark.parametrize("document", [[{"n": 1}], {"0": {"n": 1}}, {"x": 2}, "0", 0])
def test_a_document_may_be_an_array(document: Any) -> None:
    """A place at the very top is found in an array, and as a key."""
    peek = JsonPeek(frozenset({"0.n", "x"}))
    peek.feed(json.dumps(document).encode())
    expected = {list: {"0.n": b"1"}, dict: {"x": b"2"}}.get(type(document), {})
    assert peek.found().members == ({"0.n": b"1"} if document == {"0": {"n": 1}} else expected)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 80), max_size=6), tensor=st.binary(max_size=40))
def test_what_follows_a_head_is_not_read(cuts: list[int], tensor: bytes) -> None:
    """However it is cut, and whatever the tensor looks like."""
    head = b'{"model":"m","data":[{},{}]}'
    body = head + tensor + b',"n":1}'
    places = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    peek = HeadPeek(len(head), WANTED, COUNTED)
    for start, end in itertools.pairwise(places):
        peek.feed(body[start:end])
    assert peek.found() == ({"model": b'"m"'}, {"data": 2})


@pytest.mark.parametrize(
    ("parts", "members", "counts"),
    [
        (("a.b", "c/d"), {"/p": b"1"}, {}),
        (("list", "1", "~"), {"/p": b'"x"'}, {}),
        (("list",), {"/p": b'[0, {"~": "x"}]'}, {"/p": 2}),
        (("list", "2"), {}, {}),
        (("",), {"/p": b"null"}, {}),
    ],
)
def test_a_pointer_may_lead_anywhere(
    parts: tuple[str, ...], members: dict[str, bytes], counts: dict[str, int]
) -> None:
    """Keys with dots and slashes, places in arrays, the empty key."""
    document: dict[str, Any] = {"a.b": {"c/d": 1}, "list": [0, {"~": "x"}], "": None}
    peek = PointerPeek({"/p": parts, "same": parts})
    peek.feed(json.dumps(document).encode())
    both = [{name: one["/p"] for name in ("/p", "same") if one} for one in (members, counts)]
    assert peek.found() == tuple(both)


def test_the_whole_document_can_be_counted() -> None:
    """The empty pointer is the document itself, which may be an array."""
    peek = PointerPeek({"": ()})
    peek.feed(b' [{"a": [1, 2]}, ')
    peek.feed(b'"b", 3 ]')
    assert peek.found().counts == {"": 3}
