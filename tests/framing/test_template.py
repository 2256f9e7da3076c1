"""An event that is like another is measured as a search would measure it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing.template import EventTemplate

TEXT = re.compile(rb'"t"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
PIECES = st.lists(st.sampled_from([b'"', b"\\", b"t", b":", b" ", b"{", b'"t":"', b'"}', b"n", b","])).map(
    b"".join
)


def test_only_the_text_may_differ() -> None:
    """What stands around the text tells whether events are alike."""
    alike = EventTemplate()
    assert alike.size(b'{"t":"ab"}') == -1
    alike.learn(b'{"t":"ab"}', 6, 8)
    assert alike.size(b'{"t":"abc"}') == 3
    assert alike.size(b'{"t":""}') == 0
    assert alike.size(b'{"t":"\\n."}') == 3
    assert alike.size(b'{"t":"a","u":"b"}') == -1
    assert alike.size(b'{"t":"a\\"}') == -1
    assert alike.size(b'{"t":"a" }') == -1
    assert alike.size(b'{"t":"') == -1


def test_a_read_that_is_one_event_is_measured_with_its_framing() -> None:
    """It is like the last one only if its framing is, and if nothing in its text is a part of the framing."""
    alike = EventTemplate()
    alike.learn_read(b'data: {"t":"ab"}\n\n', b'{"t":"ab"}')
    assert alike.read_size(b'data: {"t":"ab"}\n\n') == -1, "the event is not known yet"
    alike.learn(b'{"t":"ab"}', 6, 8)
    alike.learn_read(b'data: {"t":"ab"}\n\n', b'{"t":"ab"}')
    assert alike.read_size(b'data: {"t":"abc"}\n\n') == 3
    assert alike.read_size(b'data: {"t":""}\n\n') == 0
    for other in (
        b'data: {"t":"a\n"}\n\n',
        b'data: {"t":"a\r"}\n\n',
        b'data: {"t":"a\\"}\n\n',
        b'data: {"t":"a","b":""}\n\n',
        b'data: {"t":"a"}\n',
        b'data: {"t":"a"}\r\n\r\n',
        b'data: {"t":"a"}\n\ndata: {"t":"a"}\n\n',
    ):
        assert alike.read_size(other) == -1, other


@given(PIECES, PIECES, PIECES, PIECES)
def test_likeness_is_never_wrong(before: bytes, one: bytes, other: bytes, after: bytes) -> None:
    """Where an event is taken as like another, a search finds in it exactly one text of that size."""
    known, event = (before + b'"t":"' + text + b'"' + after for text in (one, other))
    found = [match.span(1) for match in TEXT.finditer(known)]
    if len(found) != 1:
        return
    alike = EventTemplate()
    alike.learn(known, *found[0])
    if (size := alike.size(event)) >= 0:
        assert [len(text) for text in TEXT.findall(event)] == [size]
