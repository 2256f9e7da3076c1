"""Events of a stream that differ from one another in one string only. Pure."""

_BACKSLASH = 0x5C


class EventTemplate:
    """Remembers an event around its one text, to measure those like it without a search.

    Tokens of one choice come in the same JSON but for their text. If that has no quotation mark, whatever a
    search of the whole event would find in it is what it found in the one before.
    """

    __slots__ = ("_after", "_before", "_read_after", "_read_before")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._read_before = b""
        """What stands around the text in a read that is one such event, with the framing of the stream."""
        self._read_after = b""

    def size(self, event: bytes) -> int:
        """Return bytes of the text as they stand in the JSON; -1 if the event is not like the last one."""
        before, after = self._before, self._after
        if not before or not event.startswith(before) or not event.endswith(after):
            return -1
        start, end = len(before), len(event) - len(after)
        # A backslash at the end would make the quotation mark behind it a part of the text.
        if end < start or event.find(b'"', start, end) >= 0 or event[end - 1] == _BACKSLASH:
            return -1
        return end - start

    def read_size(self, read: bytes) -> int:
        """Return bytes of the text in a read that is one event like the last one; -1 if it is not."""
        before, after = self._read_before, self._read_after
        if not before or not read.startswith(before) or not read.endswith(after):
            return -1
        start, end = len(before), len(read) - len(after)
        if end < start or read.find(b'"', start, end) >= 0 or read[end - 1] == _BACKSLASH:
            return -1
        # The end of a line in the text would be one of the framing.
        return -1 if read.find(b"\n", start, end) >= 0 or read.find(b"\r", start, end) >= 0 else end - start

    def learn(self, event: bytes, start: int, end: int) -> None:
        """Accept an event as the one that others are like; its text is the string between these places."""
        self._before, self._after = event[:start], event[end:]

    def learn_read(self, read: bytes, event: bytes) -> None:
        """Accept a read that is this one event; it counts only if the event is like the last one."""
        if self.size(event) >= 0:
            at = read.index(event)
            self._read_before = read[:at] + self._before
            self._read_after = self._after + read[at + len(event) :]
