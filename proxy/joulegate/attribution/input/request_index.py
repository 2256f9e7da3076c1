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


class Block(Struct, frozen=True):
    """Requests that came one after the other and have all ended."""

    requests: list[RequestInput]
    places: frozenset[int]
    starts: Floats
    ends: Floats
    start: Seconds
    end: Seconds

    @classmethod
    def of(cls, requests: list[RequestInput]) -> "Block":
        """Return a block of some requests."""
        starts = np.array([request.start for request in requests])
        ends = np.array([request.end for request in requests], dtype=np.float64)
        places = frozenset(request.place for request in requests)
        return cls(
            requests,
            places,
            starts,
            ends,
            float(starts.min(initial=np.inf)),
            float(ends.max(initial=-np.inf)),
        )

    def near(self, start: Seconds, end: Seconds) -> list[RequestInput]:
        """Return the requests that were there at some time of a stretch."""
        if self.start > end or self.end < start:
            return []
        if self.start >= start and self.end <= end:
            return self.requests
        places = np.flatnonzero((self.starts <= end) & (self.ends >= start))
        return [self.requests[place] for place in places.tolist()]


class RequestIndex:
    """Requests in the order in which they came."""

    def __init__(self) -> None:
        self._spans: dict[int, RequestInput] = {}
        self._blocks: deque[Block] = deque()
        self._loose: list[RequestInput] = []
        """Not in a block: those that came last, and those that ran longer than the others of their time."""

    def add(self, request: RequestInput) -> None:
        """Add a request."""
        self._spans[request.place] = request
        self._loose.append(request)

    def near(self, start: Seconds, end: Seconds) -> list[RequestInput]:
        """Return the requests that were there at some time of a stretch, in s, in the order of arrival."""
        self._pack()
        found = [request for block in self._blocks for request in block.near(start, end)]
        found += [s for s in self._loose if s.start <= end and (s.end is None or s.end >= start)]
        found.sort(key=attrgetter("place"))
        return found

    def about(self, start: Seconds, end: Seconds) -> int:
        """Return about how many requests are near a stretch of time at most."""
        blocks = sum(
            len(block.requests) for block in self._blocks if block.start <= end and block.end >= start
        )
        return blocks + len(self._loose)

    def forget(self, horizon: Seconds, unsettled: Set[int]) -> list[RequestInput]:
        """Drop the settled ones that ended before an instant, and return them; a few may stay longer.

        ``unsettled`` are the places of those that have no final figure yet.
        """
        gone: list[RequestInput] = []
        while self._blocks and self._blocks[0].end < horizon and unsettled.isdisjoint(self._blocks[0].places):
            gone += self._blocks.popleft().requests

        def over(request: RequestInput) -> bool:
            return request.place not in unsettled and (request.end or 0.0) < horizon

        loose = [request for request in self._loose if over(request)]
        if loose:
            self._loose = [request for request in self._loose if not over(request)]
            gone += loose
        for request in gone:
            del self._spans[request.place]
        return gone

    def trim(self, before: Seconds) -> None:
        """Let long streams let go of chunks that came before an instant."""
        for request in self._loose:
            if request.times:
                request.trim(before)

    def remove(self, requests: Sequence[RequestInput]) -> None:
        """Drop some requests at once."""
        for request in requests:
            del self._spans[request.place]
        gone = {id(request) for request in requests}
        self._loose = [request for request in self._loose if id(request) not in gone]
        kept = [[request for request in block.requests if id(request) not in gone] for block in self._blocks]
        self._blocks = deque(Block.of(requests) for requests in kept if requests)

    def first_start(self, unsettled: Set[int]) -> Seconds:
        """Return about when the first unsettled request began; infinity if there is none."""
        loose = min(
            (request.start for request in self._loose if request.place in unsettled), default=float("inf")
        )
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
        ended = [request for request in self._loose if request.end is not None]
        whole = len(ended) // BLOCK_REQUESTS * BLOCK_REQUESTS
        if whole:
            packed = {id(request) for request in ended[:whole]}
            self._loose = [request for request in self._loose if id(request) not in packed]
            self._blocks.extend(
                Block.of(ended[at : at + BLOCK_REQUESTS]) for at in range(0, whole, BLOCK_REQUESTS)
            )
