"""What costs more to look into than it is worth is given up; what people send is not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from joulegate.framing import EventSplitter, JsonPeek, LineSplitter, MultipartPeek
from joulegate.framing.effort import PARTS, RECORDS_AT_ONCE, TooMuchWork
from joulegate.framing.peek import DECODED
from joulegate.framing.websocket import BrokenWebsocket, WebsocketReader

MIB = 1 << 20
PIECE = 256 * 1024
COSTLY = {
    "brackets": b'{"a":[' + b"[]," * (MIB // 3),
    "nested brackets": b"[" * MIB,
    "nested objects": b'{"a":' * (MIB // 5),
    "short members": b"{" + b'"a":1,' * (MIB // 6),
    "short strings": b'{"a":[' + b'"",' * (MIB // 3),
    "quotes": b'"' * MIB,
    "commas": b"[" + b"," * MIB,
    "colons": b"{" + b":" * MIB,
}


def fed(feed: Callable[[bytes], Any], body: bytes) -> None:
    for at in range(0, len(body), PIECE):
        feed(body[at : at + PIECE])


@pytest.mark.parametrize("kind", COSTLY)
def test_a_document_of_marks_is_given_up(kind: str) -> None:
    """A megabyte of nothing but marks would take a second."""
    peek = JsonPeek(frozenset({"model", "stream", "a.b"}))
    with pytest.raises(TooMuchWork):
        fed(peek.feed, COSTLY[kind])


def test_what_was_found_before_stays_found() -> None:
    """Giving up costs what comes after it."""
    peek = JsonPeek(frozenset({"model"}))
    with pytest.raises(TooMuchWork):
        fed(peek.feed, b'{"model":"m","x":' + b"[" * MIB)
    assert peek.found().members == {"model": b'"m"'}


def conversation(size: int) -> bytes:
    """A request of an agent: tools with schemas, code with escapes, many turns."""
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in "abcdef"}}
    tool = {"type": "function", "function": {"name": "f", "description": "d " * 40, "parameters": schema}}
    turn = {"role": "user", "content": 'if x == "y":\n\treturn \\d+ ' * 12}
    document = {"tools": [tool] * 100, "messages": [turn] * (size // len(json.dumps(turn))), "model": "m"}
    return json.dumps(document).encode()


@pytest.mark.parametrize("size", [DECODED // 2, 2 * DECODED, 2 * MIB])
def test_what_people_send_is_read_to_its_end(size: int) -> None:
    """Large prompts are long strings, tools and turns: within the budget by far."""
    peek = JsonPeek(frozenset({"model", "stream"}), frozenset({"messages"}))
    fed(peek.feed, conversation(size))
    assert peek.found().members == {"model": b'"m"'}
    assert peek.found().counts["messages"] > 100


def test_a_long_document_in_one_piece_is_decoded() -> None:
    """What is held whole anyway is read whole, of any size."""
    peek = JsonPeek(frozenset({"model", "stream"}), frozenset({"messages"}))
    peek.feed(conversation(5 * MIB))
    assert peek.found().members == {"model": b'"m"'}


def test_a_string_of_escapes_is_passed_by_a_pattern() -> None:
    """Escaped quotes and backslashes without end cost no step each, whatever the pieces."""
    for text in (b'\\"' * MIB, b"\\\\" * MIB, b'\\"x' * MIB):
        peek = JsonPeek(frozenset({"model"}))
        body = b'{"x":"' + text + b'","model":"m"}'
        for at in range(0, len(body), 99_999):
            peek.feed(body[at : at + 99_999])
        assert peek.found().members == {"model": b'"m"'}


def test_a_form_of_many_parts_is_given_up() -> None:
    """No route has a thousand fields."""
    few, many = (
        b"--x\r\n" + b'Content-Disposition: form-data; name="a"\r\n\r\n1\r\n--x\r\n' * parts
        for parts in (PARTS - 1, 20 * PARTS)
    )
    fed(MultipartPeek(b"multipart/form-data; boundary=x", {"a"}).feed, few)
    with pytest.raises(TooMuchWork):
        fed(MultipartPeek(b"multipart/form-data; boundary=x", {"a"}).feed, many)


@pytest.mark.parametrize(("splitter", "record"), [(EventSplitter, b"\n\n"), (LineSplitter, b"\n")])
def test_one_piece_of_many_records_is_given_up(splitter: Any, record: bytes) -> None:
    """A stream may be as long as it likes; what arrives at once may not be cut into any number of records."""
    stream = splitter()
    for _ in range(20):
        stream.feed(record * RECORDS_AT_ONCE)
    with pytest.raises(TooMuchWork):
        stream.feed(record * (RECORDS_AT_ONCE + 1))


def test_one_piece_of_many_frames_is_given_up() -> None:
    """Empty frames of a websocket."""
    reader = WebsocketReader(deflate=False)
    for _ in range(20):
        reader.feed(b"\x81\x00" * RECORDS_AT_ONCE)
    with pytest.raises(BrokenWebsocket):
        reader.feed(b"\x81\x00" * (RECORDS_AT_ONCE + 1))
