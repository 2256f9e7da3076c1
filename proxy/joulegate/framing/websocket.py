"""Reads the messages of one direction of a websocket that passes by (RFC 6455, RFC 7692).

It listens to a copy and answers nothing. Its memory is bounded: of a message that is too long nothing is
kept. What cannot be a websocket ends the listening, for after that no frame can be found again.
"""

import re
import zlib
from typing import NamedTuple

from joulegate.framing.effort import RECORDS_AT_ONCE

LONGEST = 1 << 20
"""Bytes of a message that is kept."""
LONGEST_INFLATED = 4 << 20
"""Bytes that a message may inflate to: more is not meant to be read."""
_PIECE = 1 << 16

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KNOWN = {_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG}
_CONTROL = 0x8
_LONGEST_CONTROL = 125
_TAIL = b"\x00\x00\xff\xff"
_DEFLATE = re.compile(rb"(?:^|,)\s*permessage-deflate\s*(?=[;,]|$)", re.IGNORECASE)


class Message(NamedTuple):
    """One whole message of data, unmasked and inflated."""

    data: bytes
    text: bool


class BrokenWebsocket(ValueError):
    """These bytes are no websocket, or one with extensions that are not known here."""


def compresses(extensions: bytes | None) -> bool:
    """Whether a ``Sec-WebSocket-Extensions`` field of the answer agrees to compress messages.

    Whether each is compressed by itself need not be known: what remembers the one before reads it too.
    """
    return _DEFLATE.search(extensions or b"") is not None


class WebsocketReader:
    """Finds messages in bytes that come in pieces of any size."""

    def __init__(self, *, deflate: bool = False) -> None:
        self._deflate = deflate
        self._head = bytearray()
        self._left = 0
        """Bytes of the present frame's payload that are still to come."""
        self._mask = b""
        self._at = 0
        """Place in the present frame's payload."""
        self._control = False
        self._final = False
        self._opcode: int | None = None
        """Of the message that has begun."""
        self._packed = False
        self._parts: list[bytes] = []
        self._size = 0
        self._inflate: zlib._Decompress | None = None
        self._inflated = 0

    def feed(self, data: bytes) -> list[Message]:
        """Accept bytes; return messages that are whole now. Raises ``BrokenWebsocket``, and then for good."""
        messages: list[Message] = []
        place = frames = 0
        while place < len(data):
            frames += 1
            if frames > RECORDS_AT_ONCE:
                raise BrokenWebsocket("more frames in one piece than are looked at")
            if not self._left:
                place = self._take_head(data, place)
            if self._left and place < len(data):
                end = min(place + self._left, len(data))
                self._payload(data[place:end])
                place = end
            if not self._left and not self._head and self._final:
                self._end(messages)
        return messages

    # --- heads ---------------------------------------------------------------------------------------

    def _take_head(self, data: bytes, place: int) -> int:
        """Accept bytes of a frame's head; return the place after them."""
        while True:
            wanted = self._wanted() - len(self._head)
            if not wanted:
                self._open()
                return place
            if place == len(data):
                return place
            self._head += data[place : place + wanted]
            place = min(place + wanted, len(data))

    def _wanted(self) -> int:
        """Return the length of the head as far as it can be known."""
        if len(self._head) < 2:
            return 2
        extended = {126: 2, 127: 8}.get(self._head[1] & 0x7F, 0)
        return 2 + extended + (4 if self._head[1] & 0x80 else 0)

    def _open(self) -> None:
        """Begin the frame whose head is whole."""
        head, self._head = self._head, bytearray()
        first, length, masked = head[0], head[1] & 0x7F, bool(head[1] & 0x80)
        body = len(head) - 4 if masked else len(head)
        if length >= 126:
            length = int.from_bytes(head[2:body])
        self._mask = bytes(head[body:]) if masked else b""
        self._left, self._at = length, 0
        self._check(first, length)
        opcode = first & 0x0F
        self._control = bool(opcode & _CONTROL)
        self._final = bool(first & 0x80)
        if not self._control and opcode != _CONTINUATION:
            self._opcode, self._packed = opcode, bool(first & 0x40)

    def _check(self, first: int, length: int) -> None:
        opcode, final = first & 0x0F, bool(first & 0x80)
        control, fresh = bool(opcode & _CONTROL), opcode in (_TEXT, _BINARY)
        begun = self._opcode is not None
        wrong = (
            opcode not in _KNOWN
            or first & 0x30
            or (first & 0x40 and not (self._deflate and fresh))
            or (control and (not final or length > _LONGEST_CONTROL))
            or (fresh and begun)
            or (opcode == _CONTINUATION and not begun)
            or length >> 63
        )
        if wrong:
            raise BrokenWebsocket(f"a frame that begins with {first:#04x} cannot be here")

    # --- payloads ------------------------------------------------------------------------------------

    def _payload(self, part: bytes) -> None:
        self._left -= len(part)
        wanted = not self._control and (self._packed or self._size <= LONGEST)
        if wanted:
            part = unmasked(part, self._mask, self._at)
            self._inflate_part(part) if self._packed else self._keep(part)
        self._at += len(part)

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= LONGEST:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _inflate_part(self, part: bytes) -> None:
        """Inflate in small pieces; with a shared context also what is not kept."""
        if self._inflate is None:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while part and not self._inflate.eof:
                self._inflated_piece(self._inflate.decompress(part, _PIECE))
                part = self._inflate.unconsumed_tail
        except zlib.error as error:
            raise BrokenWebsocket("a message that cannot be inflated") from error

    def _inflated_piece(self, piece: bytes) -> None:
        self._inflated += len(piece)
        if self._inflated > LONGEST_INFLATED:
            raise BrokenWebsocket("a message that inflates to more than anyone reads")
        self._keep(piece)

    def _end(self, messages: list[Message]) -> None:
        """End the frame; if it was the last of its message, give that."""
        self._final = False
        if self._control or self._opcode is None:
            return
        if self._packed:
            self._inflate_part(_TAIL)
            if self._inflate and self._inflate.eof:
                self._inflate = None
        if self._size <= LONGEST:
            messages.append(Message(b"".join(self._parts), self._opcode == _TEXT))
        self._opcode, self._packed = None, False
        self._parts, self._size, self._inflated = [], 0, 0


def unmasked(part: bytes, mask: bytes, at: int) -> bytes:
    """Return a part of a payload, beginning at a place of it, without its mask of four bytes, if any."""
    if not mask or not part:
        return part
    turned = mask[at % 4 :] + mask[: at % 4]
    whole = (turned * (len(part) // 4 + 1))[: len(part)]
    return (int.from_bytes(part) ^ int.from_bytes(whole)).to_bytes(len(part))
