"""Reading what passes compressed, on a copy: what is forwarded stays as it came. Pure.

A decoder's memory is bounded, and so is what it makes of what it is given: a few bytes that unfold to
gigabytes are given up. Formats: RFC 9110, section 8.4.1 (gzip, deflate), RFC 7932 (br), RFC 8878 and 9659
(zstd).
"""

import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import brotli

from joulegate.ports import Headers

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


PIECE = 64 * 1024
"""Bytes that are unfolded at once; Brotli may give half as much again."""
FREE = 1024 * 1024
"""Bytes that any body may unfold to, however short it is."""
MOST_TIMES = 200
"""Beyond that, unfolded bytes for each byte that came. A stream of one word an event shrinks to 1/96."""
LARGEST = 64 * 1024 * 1024
"""Bytes of one answer that are read at most."""
LARGEST_REQUEST = 8 * 1024 * 1024
"""Bytes of one request that are read at most."""
AT_ONCE = 1024 * 1024
"""Bytes that one piece that arrives may unfold to: some 10 ms."""
_WINDOW_LOG = 23
"""8 MiB, the largest window that RFC 9659 lets a server use."""

_FIELDS = (b"content-encoding", b"x-body-compressed")
"""The second one is of no standard and stands in requests."""


class Undecodable(Exception):
    """These bytes are not what their field says, or they unfold to more than is read."""


class _Engine(Protocol):
    """One format: takes bytes, gives what they unfold to in pieces of at most ``PIECE``."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Accept bytes."""
        ...


class Decoder:
    """Unfolds one body, within bounds."""

    def __init__(self, engine: _Engine, largest: int = LARGEST) -> None:
        self._engine = engine
        self._largest = largest
        self._taken = 0
        self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Return what these bytes unfold to, in pieces. Raises ``Undecodable``."""
        self._taken += len(data)
        bound = min(self._largest, FREE + MOST_TIMES * self._taken, self._given + AT_ONCE)
        try:
            for piece in self._engine.feed(data):
                self._given += len(piece)
                if self._given > bound:
                    raise Undecodable(f"{self._taken} bytes unfold to more than is looked at: {bound}")
                if piece:
                    yield piece
        except _ERRORS as error:
            raise Undecodable(str(error)) from error


def decoder(fields: Mapping[bytes, bytes], largest: int = LARGEST) -> Decoder | None:
    """Return what reads a body with these fields; ``None``: it is plain, or nothing here reads it."""
    for field in _FIELDS:
        coding = fields.get(field)
        if coding is not None:
            engine = _ENGINES.get(coding.strip().lower())
            return Decoder(engine(), largest) if engine else None
    return None


def plain(headers: Headers) -> Headers:
    """Return the fields of the same body, unfolded."""
    return [(name, value) for name, value in headers if name.lower() not in _FIELDS]


def is_encoded(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a body with these fields is compressed, in whatever way."""
    return b"content-encoding" in fields or b"x-body-compressed" in fields


class _Zlib:
    """gzip and deflate; several gzip members may follow one another."""

    def __init__(self, window: int | None) -> None:
        self._window = window
        self._engine: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._engine is None:
                # Deflate is meant with zlib's head, and sent without by some: the first byte tells.
                window = self._window or (15 if data[0] & 15 == 8 else -15)
                self._engine = zlib.decompressobj(window)
            piece = self._engine.decompress(data, PIECE)
            data = self._engine.unconsumed_tail
            yield piece
            while len(piece) == PIECE and not data:
                piece = self._engine.decompress(b"", PIECE)
                yield piece
            if self._engine.eof:
                data = self._engine.unused_data
                self._engine = None


class _Zstd:
    """Frames that may follow one another."""

    def __init__(self) -> None:
        self._engine: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._engine is None:
                options: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
                self._engine = zstd.ZstdDecompressor(options=options)
            yield self._engine.decompress(data, PIECE)
            while not self._engine.eof and not self._engine.needs_input:
                yield self._engine.decompress(b"", PIECE)
            data = self._engine.unused_data if self._engine.eof else b""
            if self._engine.eof:
                self._engine = None


class _Brotli:
    """One stream."""

    def __init__(self) -> None:
        self._engine = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        engine = self._engine
        piece = engine.process(data, output_buffer_limit=PIECE)
        # It may keep output back although it would accept more input: an empty answer says that it does not.
        while piece or not engine.can_accept_more_data():
            yield piece
            if engine.is_finished():
                return
            piece = engine.process(b"", output_buffer_limit=PIECE)


_ENGINES: dict[bytes, Callable[[], _Engine]] = {
    b"gzip": lambda: _Zlib(31),
    b"x-gzip": lambda: _Zlib(31),
    b"deflate": lambda: _Zlib(None),
    b"br": _Brotli,
    b"zstd": _Zstd,
}
_ERRORS: tuple[type[Exception], ...] = (zlib.error, brotli.error, zstd.ZstdError)
