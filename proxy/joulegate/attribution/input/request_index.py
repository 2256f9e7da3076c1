"""The requests of a group by time, so that those near a stretch of it are found without a look at all."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

import numpy as np
from msgspec import Struct

from joulegate.attribution.input.request import AttributedSpan
from joulegate.attribution.maths.arrays import Floats

BLOCK = 256
"""Requests that are passed over at once."""


class Block(Struct):
    """Requests that came one after the other and have all ended."""

    spans: list[AttributedSpan]
    starts: Floats
    ends: Floats
    start: float
    end: float

    @classmethod
    def of(cls, spans: list[AttributedSpan]) -> "Block":
        """Return a block of some requests."""
        starts = np.array([span.start for span in spans])
        ends = np.array([span.end for span in spans], dtype=np.float64)
        return cls(spans, starts, ends, float(starts.min(initial=np.inf)), float(ends.max(initial=-np.inf)))

    def near(self, start: float, end: float) -> list[AttributedSpan]:
        """Return those that were there at some time of a stretch."""
        if self.start > end or self.end < start:
            return []
        if self.start >= start and self.end <= end:
            return self.spans
        places = np.flatnonzero((self.starts <= end) & (self.ends >= start))
        return [self.spans[place] for place in places.tolist()]


class SpanIndex:
    """Requests in the order in which they came."""

    def __init__(self) -> None:
        self._spans: dict[str, AttributedSpan] = {}
        self._blocks: deque[Block] = deque()
        self._loose: list[AttributedSpan] = []
        """Not in a block: those that came last, and those that ran longer than the others of their time."""

    def add(self, span: AttributedSpan) -> None:
        """Accept a request in."""
        self._spans[span.id] = span
        self._loose.append(span)

    def get(self, key: str) -> AttributedSpan | None:
        """Return a request by its id."""
        return self._spans.get(key)

    def near(self, start: float, end: float) -> list[AttributedSpan]:
        """Return the requests that were there at some time of a stretch, in s, in the order of arrival."""
        self._pack()
        found = [span for block in self._blocks for span in block.near(start, end)]
        found += [s for s in self._loose if s.start <= end and (s.end is None or s.end >= start)]
        found.sort(key=attrgetter("place"))
        return found

    def about(self, start: float, end: float) -> int:
        """Return how many requests are near a stretch of time at most, about."""
        blocks = sum(len(block.spans) for block in self._blocks if block.start <= end and block.end >= start)
        return blocks + len(self._loose)

    def forget(self, horizon: float) -> None:
        """Drop those that are done and ended before an instant; a few may stay longer."""
        while self._blocks and self._blocks[0].end < horizon and all(s.done for s in self._blocks[0].spans):
            self._drop(self._blocks.popleft().spans)
        gone = [span for span in self._loose if _is_over(span, horizon)]
        if gone:
            self._loose = [span for span in self._loose if not _is_over(span, horizon)]
            self._drop(gone)

    def trim(self, before: float) -> None:
        """Let long streams let go of chunks that came before an instant."""
        for span in self._loose:
            if span.times:
                span.trim(before)

    def remove(self, spans: Sequence[AttributedSpan]) -> None:
        """Drop some requests at once."""
        for span in spans:
            del self._spans[span.id]
        gone = {id(span) for span in spans}
        self._loose = [span for span in self._loose if id(span) not in gone]
        kept = [[span for span in block.spans if id(span) not in gone] for block in self._blocks]
        self._blocks = deque(Block.of(spans) for spans in kept if spans)

    def first_start(self) -> float:
        """Return when the first of those began that are not done, about; infinity if all are."""
        loose = min((span.start for span in self._loose if not span.done), default=float("inf"))
        for block in self._blocks:
            if not all(span.done for span in block.spans):
                return min(loose, block.start)
        return loose

    def __iter__(self) -> Iterator[AttributedSpan]:
        return iter(self._spans.values())

    def __len__(self) -> int:
        return len(self._spans)

    def _pack(self) -> None:
        """Put those that have ended into blocks, as soon as there are enough for one."""
        if len(self._loose) < 2 * BLOCK:
            return
        ended = [span for span in self._loose if span.end is not None]
        whole = len(ended) // BLOCK * BLOCK
        if whole:
            packed = {id(span) for span in ended[:whole]}
            self._loose = [span for span in self._loose if id(span) not in packed]
            self._blocks.extend(Block.of(ended[at : at + BLOCK]) for at in range(0, whole, BLOCK))

    def _drop(self, spans: Iterable[AttributedSpan]) -> None:
        for span in spans:
            self._spans.pop(span.id, None)


def _is_over(span: AttributedSpan, horizon: float) -> bool:
    return span.done and (span.end or 0.0) < horizon
