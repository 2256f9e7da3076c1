"""A websocket that passes by is read message by message, whatever the pieces, in bounded memory."""

import os
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.framing import websocket
from joulegate.framing.websocket import (
    BrokenWebsocket,
    Message,
    WebsocketReader,
    compresses,
    unmasked,
)

PIECES = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def frame(
    payload: bytes, opcode: int = 1, *, final: bool = True, mask: bytes = b"", packed: bool = False
) -> bytes:
    """Write a frame, the plain way."""
    first = opcode | (0x80 if final else 0) | (0x40 if packed else 0)
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head = bytes([first, bit | len(payload)])
    elif len(payload) < 1 << 16:
        head = bytes([first, bit | 126]) + len(payload).to_bytes(2)
    else:
        head = bytes([first, bit | 127]) + len(payload).to_bytes(8)
    hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if mask else payload
    return head + mask + hidden


def cut(stream: bytes, pieces: list[int]) -> list[bytes]:
    parts, place, turn = [], 0, 0
    while place < len(stream):
        parts.append(stream[place : place + pieces[turn % len(pieces)]])
        place, turn = place + len(parts[-1]), turn + 1
    return parts


def read(reader: WebsocketReader, parts: list[bytes]) -> list[Message]:
    return [message for part in parts for message in reader.feed(part)]


@st.composite
def spoken(draw: st.DrawFn) -> tuple[list[Message], bytes, bool]:
    """Give messages with the bytes of them: masked, in fragments, compressed, with pings in between."""
    deflate = draw(st.booleans())
    shared = zlib.compressobj(wbits=-15)
    messages, stream = [], b""
    for _ in range(draw(st.integers(0, 5))):
        data, text = draw(st.binary(max_size=300)), draw(st.booleans())
        messages.append(Message(data, text))
        packed = deflate and draw(st.booleans())
        if packed:
            data = (shared.compress(data) + shared.flush(zlib.Z_SYNC_FLUSH))[:-4]
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
        bounds = [0, *cuts, len(data)]
        for place in range(len(bounds) - 1):
            stream += frame(
                data[bounds[place] : bounds[place + 1]],
                0 if place else (1 if text else 2),
                final=place == len(bounds) - 2,
                mask=draw(st.sampled_from([b"", b"\x01\x02\x03\x04", b"\xff\x00\x80\x7f"])),
                packed=packed and not place,
            )
            if draw(st.booleans()):
                stream += frame(draw(st.binary(max_size=125)), draw(st.sampled_from([8, 9, 10])))
    return messages, stream, deflate


@given(spoken=spoken(), pieces=PIECES)
@settings(max_examples=100, deadline=None)
def test_messages_are_found_however_the_bytes_come(
    spoken: tuple[list[Message], bytes, bool], pieces: list[int]
) -> None:
    """Masks, fragments, pings between them, compression with a shared context, empty messages."""
    messages, stream, deflate = spoken
    assert read(WebsocketReader(deflate=deflate), cut(stream, pieces)) == messages


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536, 300_000])
def test_every_form_of_length_is_read(length: int) -> None:
    """Seven bits, sixteen and sixty-four."""
    data = os.urandom(length)
    assert WebsocketReader().feed(frame(data, 2, mask=b"abcd")) == [Message(data, text=False)]


def test_each_message_may_be_compressed_by_itself() -> None:
    """Without a shared context the second message begins anew."""
    stream = b""
    for data in (b"hello hello", b"hello again"):
        squeeze = zlib.compressobj(wbits=-15)
        stream += frame((squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4], packed=True)
    found = WebsocketReader(deflate=True).feed(stream)
    assert [message.data for message in found] == [b"hello hello", b"hello again"]


def test_a_compressed_message_may_end_its_stream() -> None:
    """With a final block, as RFC 7692 allows (section 7.2.3.5): the next one begins another."""
    stream = b""
    for data in (b"hello hello", b"hello again"):
        squeeze = zlib.compressobj(wbits=-15)
        stream += frame(squeeze.compress(data) + squeeze.flush() + b"\0", packed=True)
    found = WebsocketReader(deflate=True).feed(stream)
    assert [message.data for message in found] == [b"hello hello", b"hello again"]


@pytest.mark.parametrize("packed", [False, True])
def test_of_a_message_that_is_too_long_nothing_is_kept(packed: bool) -> None:
    """The next one is read all the same, and memory stays small."""
    squeeze = zlib.compressobj(wbits=-15)

    def payload(data: bytes) -> bytes:
        return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4] if packed else data

    stream = frame(payload(bytes(3 << 20)), 2, packed=packed) + frame(payload(b"next"), packed=packed)
    parts = cut(stream, [1 << 14])
    reader = WebsocketReader(deflate=packed)
    tracemalloc.start()
    try:
        assert read(reader, parts) == [Message(b"next", text=True)]
        assert tracemalloc.get_traced_memory()[1] < 3 * websocket.LONGEST
    finally:
        tracemalloc.stop()


def test_a_bomb_ends_the_listening() -> None:
    """A few kilobytes may inflate to gigabytes: nobody's time is spent on that."""
    squeeze = zlib.compressobj(wbits=-15)
    bomb = (squeeze.compress(bytes(websocket.LONGEST_INFLATED + 1)) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with pytest.raises(BrokenWebsocket, match="inflates"):
        WebsocketReader(deflate=True).feed(frame(bomb, packed=True))


@pytest.mark.parametrize(
    "stream",
    [
        frame(b"x", 3),
        frame(b"x", 0),
        frame(b"x", 1, final=False) + frame(b"y", 1),
        frame(b"x", 9, final=False),
        frame(bytes(126), 9),
        frame(b"x", 1, packed=True),
        b"\xb1\x00",
        b"\x82\xff" + bytes([0x80]) + bytes(11),
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
    ids=["opcode", "continues", "begins", "control", "control-long", "rsv1", "rsv", "length", "http"],
)
def test_what_is_no_websocket_is_said_to_be_none(stream: bytes) -> None:
    """Listening ends there."""
    with pytest.raises(BrokenWebsocket):
        WebsocketReader().feed(stream)


@given(garbage=st.binary(max_size=400), pieces=PIECES, deflate=st.booleans())
@settings(deadline=None)
def test_garbage_raises_nothing_else(garbage: bytes, pieces: list[int], deflate: bool) -> None:
    """Whatever it is."""
    with suppress(BrokenWebsocket):
        read(WebsocketReader(deflate=deflate), cut(garbage, pieces))


@pytest.mark.parametrize(
    ("extensions", "agreed"),
    [
        (None, False),
        (b"", False),
        (b"x-webkit-deflate-frame", False),
        (b"permessage-deflate", True),
        (b"foo, Permessage-Deflate; server_no_context_takeover", True),
        (b"permessage-deflate;client_no_context_takeover;client_max_window_bits=12", True),
        (b"permessage-deflate-not", False),
    ],
)
def test_the_compression_is_the_one_agreed_on(extensions: bytes | None, agreed: bool) -> None:
    """As the answer's head says."""
    assert compresses(extensions) is agreed


@given(part=st.binary(max_size=50), mask=st.binary(min_size=4, max_size=4), at=st.integers(0, 9))
def test_a_mask_is_taken_off_wherever_the_part_begins(part: bytes, mask: bytes, at: int) -> None:
    """The mask goes around every four bytes of the payload."""
    plain = bytes(byte ^ mask[(at + place) % 4] for place, byte in enumerate(part))
    assert unmasked(part, mask, at) == plain
