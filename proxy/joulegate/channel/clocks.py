"""A gate's times on the meter's clock, and how far off they may be. Pure: the clocks are read elsewhere.

Two hosts share no clock to be trusted: anyone may set a wall clock, and a monotonic one begins with each
boot. So with each heartbeat the meter asks what the gate's clock shows. The answer was given between question
and receipt, which bounds the difference of the clocks then; since then they may have drifted.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from joulegate.model import ClockStatus, JobNote, SpanChunks, SpanClosed, SpanEvent, SpanId
from joulegate.units import NANO, Nanoseconds

KEPT = Nanoseconds(60 * NANO)
"""Age of the oldest round trip that counts while there are newer ones."""
DRIFT_AGE = 10_000
"""Nanoseconds of age for each nanosecond of drift: 100 ppm, twice what quartz clocks are sold with."""


class RoundTrip(Struct, frozen=True, gc=False):
    """A question of the meter and the gate's answer; the first and the last are of the meter's clock."""

    asked: Nanoseconds
    answered: Nanoseconds
    received: Nanoseconds

    @property
    def offset(self) -> Nanoseconds:
        """What to add to the gate's times, if the answer was given half-way."""
        return Nanoseconds((self.asked + self.received) // 2 - self.answered)

    def bound(self, t: Nanoseconds) -> Nanoseconds:
        """Return how far off that may be at an instant before, between or after."""
        age = max(t - self.asked, self.received - t)
        return Nanoseconds((self.received - self.asked + 1) // 2 + age // DRIFT_AGE + 1)


class GateClock:
    """The clock of one gate. All events of a request are moved by one offset, so that its duration stays."""

    def __init__(self) -> None:
        self._trips: deque[RoundTrip] = deque()
        """Of falling worth and rising age: the first is the best of all that count."""
        self._offsets: dict[SpanId, Nanoseconds] = {}

    @property
    def is_known(self) -> bool:
        """Whether the gate ever answered."""
        return bool(self._trips)

    def answered(self, trip: RoundTrip) -> None:
        """Record an answer. Raises ``ValueError`` for one that came before its question."""
        if trip.received < trip.asked:
            raise ValueError("it answered what was not asked yet")
        if self._trips and not _agree(self._trips[0], trip):
            self._trips.clear()  # one of the hosts slept: its clock stood still meanwhile
        while self._trips and self._trips[-1].bound(trip.received) >= trip.bound(trip.received):
            self._trips.pop()
        self._trips.append(trip)
        while trip.received - self._trips[0].received > KEPT:
            self._trips.popleft()

    def status(self, gate: str, now: Nanoseconds) -> ClockStatus:
        """Return the offset that is best known, as that of a gate of this name; the clock ``is_known``."""
        best = self._trips[0]
        return ClockStatus(gate, best.offset, best.bound(now))

    def earliest(self, t: Nanoseconds) -> Nanoseconds:
        """Return the earliest time on the meter's clock at which this gate's clock may have shown ``t``."""
        best = self._trips[0]
        likely = Nanoseconds(t + best.offset)
        return Nanoseconds(likely - best.bound(likely))

    def moved(self, event: SpanEvent) -> SpanEvent:
        """Return an event with its times on the meter's clock, moved as the first one of its request was."""
        return moved_by(event, self._offsets.setdefault(event.id, self._trips[0].offset))

    def forget(self, ids: Iterable[SpanId]) -> None:
        """Notify that these requests are settled."""
        for id_ in ids:
            self._offsets.pop(id_, None)


def _agree(one: RoundTrip, later: RoundTrip) -> bool:
    """Whether both can be right of clocks that drift no more than they may."""
    t = later.received
    return abs(one.offset - later.offset) <= one.bound(t) + later.bound(t)


def moved_by(event: SpanEvent, offset: Nanoseconds) -> SpanEvent:
    """Return an event all of whose times are later by this offset."""

    def later(t: Nanoseconds) -> Nanoseconds:
        return Nanoseconds(t + offset)

    def later_if_known(t: Nanoseconds | None) -> Nanoseconds | None:
        return None if t is None else later(t)

    match event:
        case SpanChunks():
            return SpanChunks(event.id, [later(t) for t in event.times], event.sizes)
        case SpanClosed():
            return replace(
                event,
                t=later(event.t),
                client_left=later_if_known(event.client_left),
                first_byte=later_if_known(event.first_byte),
            )
        case JobNote(sign=sign):
            moved = replace(sign, began=later_if_known(sign.began), ended=later_if_known(sign.ended))
            return replace(event, t=later(event.t), sign=moved, last=later_if_known(event.last))
        case _:
            return replace(event, t=later(event.t))
