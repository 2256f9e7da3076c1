"""The requests of a group by time, so that those near a stretch of it are found without a look at all."""

from collections import deque
from collections.abc import Iterator, Sequence, Set
from operator import attrgetter

import numpy as np
from msgspec import Struct

from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.maths.arrays import Floats, Seconds

BLOCK_REQUESTS = 256
"""Requests that are passed over at once."""


class Block(Struct):
    """Requests that came one after the other and have all ended."""

    spans: list[RequestInput]
    places: frozenset[int]
    starts: Floats
    ends: Floats
    start: Seconds
    end: Seconds

    @classmethod
    def of(cls, spans: list[RequestInput]) -> "Block":
        """Return a block of some requests."""
        starts = np.array([span.start for span in spans])
        ends = np.array([span.end for span in spans], dtype=np.float64)
        places = frozenset(span.place for span in spans)
        return cls(
            spans, places, starts, ends, float(starts.min(initial=np.inf)), float(ends.max(initial=-np.inf))
        )

    def near(self, start: Seconds, end: Seconds) -> list[RequestInput]:
        """Return those that were there at some time of a stretch."""
        if self.start > end or self.end < start:
            return []
        if self.start >= start and self.end <= end:
            return self.spans
        places = np.flatnonzero((self.starts <= end) & (self.ends >= start))
        return [self.spans[place] for place in places.tolist()]


class RequestIndex:
    """Requests in the order in which they came."""

    def __init__(self) -> None:
        self._spans: dict[int, RequestInput] = {}
        self._blocks: deque[Block] = deque()
        self._loose: list[RequestInput] = []
        """Not in a block: those that came last, and those that ran longer than the others of their time."""

    def add(self, span: RequestInput) -> None:
        """Accept a request in."""
        self._spans[span.place] = span
        self._loose.append(span)

    def near(self, start: Seconds, end: Seconds) -> list[RequestInput]:
        """Return the requests that were there at some time of a stretch, in s, in the order of arrival."""
        self._pack()
        found = [span for block in self._blocks for span in block.near(start, end)]
        found += [s for s in self._loose if s.start <= end and (s.end is None or s.end >= start)]
        found.sort(key=attrgetter("place"))
        return found

    def about(self, start: Seconds, end: Seconds) -> int:
        """Return how many requests are near a stretch of time at most, about."""
        blocks = sum(len(block.spans) for block in self._blocks if block.start <= end and block.end >= start)
        return blocks + len(self._loose)

    def forget(self, horizon: Seconds, unsettled: Set[int]) -> list[RequestInput]:
        """Drop the settled ones that ended before an instant, and return them; a few may stay longer.

        ``unsettled`` are the places of those that have no final figure yet.
        """
        gone: list[RequestInput] = []
        while self._blocks and self._blocks[0].end < horizon and unsettled.isdisjoint(self._blocks[0].places):
            gone += self._blocks.popleft().spans

        def over(span: RequestInput) -> bool:
            return span.place not in unsettled and (span.end or 0.0) < horizon

        loose = [span for span in self._loose if over(span)]
        if loose:
            self._loose = [span for span in self._loose if not over(span)]
            gone += loose
        for span in gone:
            del self._spans[span.place]
        return gone

    def trim(self, before: Seconds) -> None:
        """Let long streams let go of chunks that came before an instant."""
        for span in self._loose:
            if span.times:
                span.trim(before)

    def remove(self, spans: Sequence[RequestInput]) -> None:
        """Drop some requests at once."""
        for span in spans:
            del self._spans[span.place]
        gone = {id(span) for span in spans}
        self._loose = [span for span in self._loose if id(span) not in gone]
        kept = [[span for span in block.spans if id(span) not in gone] for block in self._blocks]
        self._blocks = deque(Block.of(spans) for spans in kept if spans)

    def first_start(self, unsettled: Set[int]) -> Seconds:
        """Return when the first of the unsettled ones began, about; infinity if there are none."""
        loose = min((span.start for span in self._loose if span.place in unsettled), default=float("inf"))
        for block in self._blocks:
            if not unsettled.isdisjoint(block.places):
                return min(loose, block.start)
        return loose

    def __iter__(self) -> Iterator[RequestInput]:
        return iter(self._spans.values())

    def __len__(self) -> int:
        return len(self._spans)

    def _pack(self) -> None:
        """Put those that have ended into blocks, as soon as there are enough for one."""
        if len(self._loose) < 2 * BLOCK_REQUESTS:
            return
        ended = [span for span in self._loose if span.end is not None]
        whole = len(ended) // BLOCK_REQUESTS * BLOCK_REQUESTS
        if whole:
            packed = {id(span) for span in ended[:whole]}
            self._loose = [span for span in self._loose if id(span) not in packed]
            self._blocks.extend(
                Block.of(ended[at : at + BLOCK_REQUESTS]) for at in range(0, whole, BLOCK_REQUESTS)
            )
