"""Members are found in documents of any size, and the quick and the bounded way find the same."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing import JsonPeek, Scanner

WANTED = frozenset({"model", "usage", "n", "response.usage"})
COUNTED = frozenset({"data"})
VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 10**12)
    | st.text(max_size=6)
    | st.sampled_from(['"', "\\", '\\"']),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["model", "usage", "a", "é", 'q"', "data"]), inner, max_size=4)
    ),
    max_leaves=20,
)
DOCUMENTS: Any = st.dictionaries(
    st.sampled_from(["model", "usage", "n", "x", 'q"', "response", "mo\\del"]), VALUES, max_size=6
) | st.fixed_dictionaries({"data": st.lists(st.text(max_size=3) | st.just({}) | st.just([1]), max_size=4)})


@given(document=DOCUMENTS, cuts=st.lists(st.integers(0, 500), max_size=9), spaced=st.booleans())
def test_scanning_finds_what_decoding_finds(document: dict[str, Any], cuts: list[int], spaced: bool) -> None:
    """For any document, in any pieces, each wanted member has the same raw text and each count is right."""
    text = json.dumps(document, indent=1 if spaced else None).encode()
    places = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    scanner = Scanner(WANTED, COUNTED)
    for start, end in itertools.pairwise(places):
        scanner.feed(text[start:end])
    peek = JsonPeek(WANTED, COUNTED)
    peek.feed(text)
    assert scanner.found == peek.found()
    found = {path: json.loads(raw) for path, raw in peek.found().members.items()}
    inner = document.get("response")
    nested = inner["usage"] if isinstance(inner, dict) and "usage" in inner else None
    plain = {path: document[path] for path in WANTED if path in document}
    assert found == plain | ({"response.usage": nested} if "response.usage" in found else {})
    assert ("response.usage" in found) == (isinstance(inner, dict) and "usage" in inner)


@given(garbage=st.binary(max_size=60) | st.text('{}[]",:\\ab ', max_size=60).map(str.encode))
def test_garbage_is_scanned_without_complaint(garbage: bytes) -> None:
    """A scanner tolerates anything, and never finds a value that no colon began."""
    scanner = Scanner(WANTED, COUNTED)
    scanner.feed(garbage)
    assert not scanner.found.members or b":" in garbage


def test_the_last_of_two_members_counts() -> None:
    """As in most readers of JSON, whichever way it is read."""
    text = b'{"model":"a","model":"b"}'
    peek, scanner = JsonPeek(WANTED), Scanner(WANTED)
    peek.feed(text)
    scanner.feed(text)
    assert peek.found().members == scanner.found.members == {"model": b'"b"'}


@pytest.mark.parametrize("scan", [False, True])
def test_a_value_that_is_too_long_is_absent_even_after_another(scan: bool) -> None:
    """The last one counts, and it is no value; small documents and large ones agree."""
    reader: Scanner | JsonPeek = Scanner(WANTED) if scan else JsonPeek(WANTED)
    reader.feed(b'{"model":"a","model":"' + b"m" * 20_000 + b'","n":1}')
    found = reader.found if isinstance(reader, Scanner) else reader.found()
    assert found.members == {"n": b"1"}


def test_a_backslash_may_stand_before_the_cut() -> None:
    """The quotation mark behind it ends nothing; one behind two of them does."""
    for text in ('a"b', "a\\", 'a\\"', '"n":7'):
        raw = json.dumps({"x": text, "n": 1}).encode()
        for cut in range(len(raw)):
            scanner = Scanner(WANTED)
            scanner.feed(raw[:cut])
            scanner.feed(raw[cut:])
            assert scanner.found.members == {"n": b"1"}


def test_escaped_keys_are_read() -> None:
    """``mod\\u0065l`` is ``model``."""
    scanner = Scanner(WANTED)
    scanner.feed(b'{"mod\\u0065l":"m"}')
    assert scanner.found.members == {"model": b'"m"'}


PLACES = frozenset({"0", "1.a", "inputs.0.shape", "inputs.1.shape.0", "data.2"})


@given(
    document=st.recursive(
        st.none() | st.integers(0, 99) | st.sampled_from(['"', "[", ",", "\\"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["inputs", "shape", "a", "0", "data"]), inner, max_size=3)
        ),
        max_leaves=20,
    ),
    cuts=st.lists(st.integers(0, 500), max_size=9),
)
def test_places_in_arrays_are_found(document: Any, cuts: list[int]) -> None:
    """A number in a path is a place in an array, or a key; whole documents and pieces agree with a reader."""
    text = json.dumps(document).encode()
    scanner = Scanner(PLACES, PLACES)
    for start, end in itertools.pairwise(sorted({0, len(text), *(cut % len(text) for cut in cuts)})):
        scanner.feed(text[start:end])
    wanted = {path: value for path in PLACES if (value := _at(document, path.split("."))) is not MISSING}
    assert {path: json.loads(raw) for path, raw in scanner.found.members.items()} == wanted
    lengths = {path: len(value) for path, value in wanted.items() if isinstance(value, list)}
    assert scanner.found.counts == lengths


MISSING = object()


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return MISSING
    return document


def test_an_array_with_one_number_has_one_element() -> None:
    """Numbers count like strings and objects do, wherever the document is cut."""
    for text in (b'{"data":[7]}', b'{"data":[ null ]}'):
        for cut in range(len(text)):
            scanner = Scanner((), COUNTED)
            scanner.feed(text[:cut])
            scanner.feed(text[cut:])
            assert scanner.found.counts == {"data": 1}
