"""Streams are cut into the same records however they arrive."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing import LIMIT, EventSplitter, Frame, LineSplitter

PIECES = st.lists(
    st.sampled_from([
        b"data: a\n\n", b"data:b\r\n\r\n", b"data: c\r\r", b": note\n\n", b"\n", b"\r", b"\r\n",
        b"event: x\n",
        b"data: \xc3\xa9\n", b"\xef\xbb\xbf", b"data\n", b"id: 1\n", b"data: {}", b"\xc3", b"data: x\n",
    ]),
    max_size=30,
)  # fmt: skip


def frames(splitter: EventSplitter | LineSplitter, *chunks: bytes) -> list[Frame]:
    found = [frame for chunk in chunks for frame in splitter.feed(chunk)]
    return found + splitter.finish()


def payloads(*chunks: bytes) -> list[bytes]:
    return [frame.data for frame in frames(EventSplitter(), *chunks)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_line_ends_are_one(end: bytes) -> None:
    """LF, CRLF and CR end lines alike; data lines are joined; comments and other fields say nothing."""
    stream = b": hi\nevent: x\ndata: one\ndata:two\nid: 1\n\ndata: three\n\n".replace(b"\n", end)
    assert payloads(stream) == [b"one\ntwo", b"three"]
    assert payloads(*[bytes([byte]) for byte in stream]) == [b"one\ntwo", b"three"]


def test_line_ends_may_be_mixed() -> None:
    """A CR inside an event that looks like one line ends a line."""
    assert payloads(b"data: a\rdata: b\n\n") == [b"a\nb"]


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    """The mark at the very start is skipped, and nowhere else."""
    assert payloads(b"\xef\xbb\xbfdata: a\n\n", b"\xef\xbb\xbfdata: b\n\n") == [b"a", b""]


def test_characters_may_be_cut() -> None:
    """A character of two bytes arrives in two chunks."""
    assert payloads(b"data: \xc3", b"\xa9\n\n") == ["é".encode()]


def test_the_last_event_needs_no_blank_line() -> None:
    """Some servers end the stream without one."""
    assert payloads(b"data: a\n\ndata: b\n") == [b"a", b"b"]


def test_every_byte_has_its_frame() -> None:
    """The places of the records lie end to end, so that a filter can take out exactly one."""
    stream = b"data: a\n\n: x\n\ndata: b\r\n\r\nrest"
    found = frames(EventSplitter(), stream[:5], stream[5:])
    assert [(frame.start, frame.end) for frame in found] == [(0, 9), (9, 14), (14, 25), (25, 29)]


@given(parts=PIECES, cuts=st.lists(st.integers(0, 200), max_size=20))
def test_chunking_changes_no_event(parts: list[bytes], cuts: list[int]) -> None:
    """Any stream, well formed or not, gives the same frames whole and in pieces."""
    stream = b"".join(parts)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert frames(EventSplitter(), *pieces) == frames(EventSplitter(), stream)


@given(parts=PIECES)
def test_events_are_those_of_the_standard(parts: list[bytes]) -> None:
    """A plain reader that goes line by line as the standard says finds the same data."""
    stream = b"".join(parts)
    assert [data for data in payloads(stream) if data] == _plain(stream)


def _plain(stream: bytes) -> list[bytes]:
    events, data = [], []
    for line in [*re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf")), b""]:
        if not line:
            events.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    return [event for event in events if event]


@pytest.mark.parametrize("size", [1, 1000, LIMIT, 10 * LIMIT])
def test_long_events_come_in_parts_and_memory_stays_bounded(size: int) -> None:
    """A line of ten times the limit is never held whole, and the next event is found."""
    stream = b"data: " + b"x" * (10 * LIMIT) + b"\n\ndata: b\n\n"
    splitter = EventSplitter()
    found = []
    for at in range(0, len(stream), size if size > 1 else 777):
        found += splitter.feed(stream[at : at + (size if size > 1 else 777)])
        assert len(splitter.held) <= LIMIT
    *parts, last = found
    assert b"".join(part.data for part in parts) == stream[:-9]
    assert [part.last for part in parts][-1]
    assert not any(part.whole for part in parts)
    assert last.data == b"b"


def test_an_event_at_the_limit_is_whole() -> None:
    """One byte more makes it long, in one chunk and in two."""
    for extra, whole in ((0, True), (1, False)):
        event = b"data: " + b"x" * (LIMIT - 8 + extra) + b"\n\n"
        for chunks in ([event], [event[:100], event[100:]], [event[:-1], event[-1:]]):
            found = frames(EventSplitter(), *chunks)
            assert [found[0].whole, found[-1].whole] == [whole, whole]


def test_whole_records_can_be_passed_over() -> None:
    """A reader that knows a chunk to be whole events keeps the places right without splitting it."""
    splitter = EventSplitter()
    assert splitter.skip(100)
    assert splitter.feed(b"data: a\n\nda") == [Frame(100, 109, b"a")]
    assert not splitter.skip(100)
    assert splitter.offset == 109


@given(
    lines=st.lists(st.sampled_from([b"{}", b'{"a":1}\r', b"", b" "]), max_size=9),
    cuts=st.sets(st.integers(0, 60)),
)
def test_lines_of_json_are_cut_at_line_feeds(lines: list[bytes], cuts: set[int]) -> None:
    """Each line is a record; the last may lack its end; a CR before the LF is no part of it."""
    stream = b"\n".join(lines)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    wanted = [line.strip() for line in lines[:-1]] + [line.strip() for line in lines[-1:] if line]
    assert [frame.data for frame in frames(LineSplitter(), *pieces)] == wanted


@given(PIECES, st.sampled_from([EventSplitter, LineSplitter]))
def test_the_quick_way_finds_the_same_records(chunks: list[bytes], kind: type[EventSplitter]) -> None:
    """A record that comes alone is the one that splitting would give, at the same place of the stream."""
    quick, slow = kind(), kind()
    for chunk in [*chunks, b"data: last\n\n"]:
        expected = slow.feed(chunk)
        if payload := quick.alone(chunk):
            assert [payload] == [frame.data for frame in expected]
        else:
            assert quick.feed(chunk) == expected
        assert quick.offset == slow.offset


@pytest.mark.parametrize("chunk", [b"data: \n\n", b"\n", b"data: a\n\ndata: b\n\n", b"data: a", b""])
def test_only_one_whole_record_with_a_payload_goes_the_quick_way(chunk: bytes) -> None:
    """Of anything else nothing is taken."""
    splitter = EventSplitter()
    assert splitter.alone(chunk) == b""
    assert splitter.offset == 0
    assert splitter.alone(b"event: e\ndata: {}\n\n") == b"{}"
    assert LineSplitter().alone(b"{}\n") == b"{}"
