"""Label values: made harmless, and bounded in number."""

OTHER = "other"
"""Stands for every value beyond a bound."""

LONGEST = 128
"""Characters of a label value; what follows is cut."""


def clean(value: str, *, absent: str = "unknown") -> str:
    """Return a value that is safe in any text format and on any screen; an empty one becomes ``absent``.

    Lone surrogates, control characters, bidirectional marks and line separators are replaced: one of them
    in a single request could otherwise make every later scrape fail or lie to the reader's eye.
    """
    short = value[:LONGEST]
    if not short.isprintable():
        short = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short)
    return short.strip() or absent


class Guard:
    """Admits the first values that come, up to a bound; later ones become ``other`` and are counted."""

    def __init__(self, bound: int) -> None:
        self._room = bound - 1
        self._admitted = {OTHER}
        self.overflows = 0
        """Times that a value was refused for want of room."""

    def admit(self, value: str) -> str:
        """Return the label for a raw value; a new one takes a place if there is one."""
        if value in self._admitted:
            return value
        label = clean(value)
        if label in self._admitted:
            return label
        if len(self._admitted) > self._room:
            self.overflows += 1
            return OTHER
        self._admitted.add(label)
        return label

    def known(self, value: str) -> str:
        """Return the label for a raw value that may not take a place."""
        label = value if value in self._admitted else clean(value)
        return label if label in self._admitted else OTHER
