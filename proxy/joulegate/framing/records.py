"""Cuts streamed bodies into their records: server-sent events and lines of JSON.

The grammar of events is that of the HTML standard, section 9.2.6
(https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation), with one
difference: an event that the end of the body cuts off is given too, because some servers leave out the
last blank line.
"""

import re

from msgspec import Struct

from joulegate.framing.effort import RECORDS_AT_ONCE, TooMuchWork

LIMIT = 64 * 1024
"""Bytes of one record that are kept; a longer one comes in parts, so that memory stays bounded."""

_TAIL = 3
"""An unfinished blank line has at most three bytes: CR LF CR."""

_BLANK = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_CR = 0x0D
_ERROR = re.compile(rb"(?:^|[\r\n])(?:error:|event: ?error[\r\n])")


class Frame(Struct, frozen=True):
    """One record, or a part of a long one, with the place of its bytes in the stream."""

    start: int
    end: int
    data: bytes
    """Payload of a whole record: joined ``data:`` lines or the line; empty for a comment. Of a part: its raw
    bytes."""
    whole: bool = True
    """The record is complete and at most ``LIMIT`` bytes long."""
    last: bool = True
    """The record ends here."""


class _Splitter:
    """Keeps the unfinished record and gives the finished ones; the same whatever the chunking."""

    def __init__(self) -> None:
        self._held = b""
        self._resume = 0
        self._offset = 0
        self._long = False

    @property
    def offset(self) -> int:
        """Where in the stream the unfinished record, or the rest of it that is held, begins."""
        return self._offset

    @property
    def held(self) -> bytes:
        """Bytes of the unfinished record that no frame has given yet."""
        return self._held

    @property
    def long(self) -> bool:
        """The unfinished record is being given in parts."""
        return self._long

    def skip(self, size: int) -> bool:
        """Pass over ``size`` bytes that are whole records, unless one is unfinished: then nothing happens."""
        if self._held or self._long:
            return False
        self._offset += size
        return True

    def feed(self, chunk: bytes) -> list[Frame]:
        """Accept a piece of the stream and return the records that it finishes."""
        return self._split(self._held + chunk if self._held else chunk)

    def finish(self) -> list[Frame]:
        """Return the record that the end of the stream ends, if there is one."""
        rest, self._held = self._held, b""
        return [self._frame(rest)] if rest else []

    def _split(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        start = 0
        resume = self._resume
        while (end := self._boundary(data, resume)) >= 0:
            if len(frames) >= RECORDS_AT_ONCE:
                raise TooMuchWork(f"more than {RECORDS_AT_ONCE} records in one piece of a stream")
            frames.append(self._frame(data[start:end]))
            start = resume = end
        self._held = data[start:] if start else data
        if self._long or len(self._held) > LIMIT:
            frames.extend(self._part())
        self._resume = max(0, len(self._held) - _TAIL)
        return frames

    def _frame(self, raw: bytes) -> Frame:
        start = self._offset
        self._offset = end = start + len(raw)
        if self._long or len(raw) > LIMIT:
            self._long = False
            return Frame(start, end, raw, False)
        return Frame(start, end, self._payload(raw, start))

    def _part(self) -> list[Frame]:
        self._long = True
        size = len(self._held) - _TAIL
        if size <= 0:
            return []
        start = self._offset
        self._offset = start + size
        part, self._held = self._held[:size], self._held[size:]
        return [Frame(start, self._offset, part, False, False)]

    def alone(self, chunk: bytes) -> bytes:
        """Accept ``chunk`` and return its payload if it is exactly one record in its usual form.

        Nothing is given, and nothing taken, if it is anything else: then it is for ``feed``.
        """
        raise NotImplementedError

    def _boundary(self, data: bytes, start: int) -> int:
        """Return the end of the first record that ends after ``start``, or -1."""
        raise NotImplementedError

    def _payload(self, raw: bytes, start: int) -> bytes:
        raise NotImplementedError


class EventSplitter(_Splitter):
    """Cuts ``text/event-stream``: any mix of LF, CRLF and CR, comments, several data lines, a BOM."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        """An event named ``error`` came, or a line ``error:``, as some servers write it."""

    def alone(self, chunk: bytes) -> bytes:
        """Accept one event of a single ``data`` line, perhaps with its name before."""
        if chunk.startswith(b"event: "):
            begin = chunk.find(b"\n") + 1
            self.failed = self.failed or chunk.startswith(b"event: error\n")
        else:
            begin = 0
        size = len(chunk)
        if (
            chunk.startswith(b"data: ", begin)
            and chunk.find(b"\n", begin) == size - 2 > begin + 6
            and chunk.endswith(b"\n")
            and size <= LIMIT
            and not self._held
            and not self._long
            and b"\r" not in chunk
        ):
            self._offset += size
            return chunk[begin + 6 : -2]
        return b""

    def _boundary(self, data: bytes, start: int) -> int:
        if data.find(b"\r", start) < 0:
            at = data.find(b"\n\n", start)
            return at + 2 if at >= 0 else -1
        blank = _BLANK.search(data, start)
        if not blank or (blank.end() == len(data) and data[-1] == _CR):
            return -1  # a final CR may be the first half of CRLF
        return blank.end()

    def _payload(self, raw: bytes, start: int) -> bytes:
        if start == 0:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if b"error" in raw and _ERROR.search(raw):
            self.failed = True
        return b"\n".join(
            [line[5:].removeprefix(b" ") for line in raw.splitlines() if line.startswith(b"data:")]
        )


class LineSplitter(_Splitter):
    """Cuts lines of JSON (``application/x-ndjson``): LF, with an optional CR before it."""

    def alone(self, chunk: bytes) -> bytes:
        """Accept one whole line."""
        size = len(chunk)
        if chunk.find(b"\n") == size - 1 and 0 < size <= LIMIT and not self._held and not self._long:
            payload = self._payload(chunk, self._offset)
            self._offset += size if payload else 0
            return payload
        return b""

    def _boundary(self, data: bytes, start: int) -> int:
        at = data.find(b"\n", start)
        return at + 1 if at >= 0 else -1

    def _payload(self, raw: bytes, start: int) -> bytes:
        return (raw.removeprefix(b"\xef\xbb\xbf") if start == 0 else raw).strip()
