"""Cutting the time of a group of devices into settlement windows, at counter edges."""

from collections.abc import Sequence

from msgspec import Struct

from joulegate.attribution.input.timeline import Timeline
from joulegate.model import DeviceId
from joulegate.units import Microjoules, Nanoseconds, nanoseconds

SHORTEST_WINDOW = nanoseconds(0.3)
"""0.3 to 1 s are equally good (0.2 points); shorter ones see the sensor's noise."""
SHORTEST_WINDOW_BY_POWER = nanoseconds(1)
"""Power readings are means of a second."""
STALLED_AFTER = nanoseconds(10)
"""A device silent for this long does not hold up the others."""


class Window(Struct, frozen=True):
    """A stretch of time between two counter edges, with the energy of each device in it."""

    start: Nanoseconds
    end: Nanoseconds
    energy: dict[DeviceId, Microjoules]
    gaps: dict[DeviceId, Nanoseconds]
    inner: list[tuple[Nanoseconds, Microjoules]] = []
    """Counter edges within it: instant, and energy since its start of all devices."""
    blind: bool = False
    """Requests that had run in it were given up before its energy became known."""

    @property
    def known(self) -> bool:
        """Whether the energy of at least one device is known somewhere in it."""
        return any(self.gaps.get(device, 0) < self.end - self.start for device in self.energy)

    @property
    def total(self) -> Microjoules:
        """Return the energy of all devices."""
        return Microjoules(sum(self.energy.values()))


class Cutter:
    """Cuts the windows that all counters of a group have passed."""

    def __init__(self, timelines: Sequence[Timeline]) -> None:
        self._lines = timelines
        self.cursor: Nanoseconds | None = None
        """End of the last window."""
        self._blind_until = Nanoseconds(0)

    @property
    def by_power(self) -> bool:
        """Whether a device has no counter."""
        return any(line.by_power for line in self._lines)

    def closed(self, now: Nanoseconds) -> list[Window]:
        """Return the windows that have closed since the last call."""
        if self.cursor is None:
            self._begin(now)
        found = []
        while self.cursor is not None and (cut := self._next_cut(self.cursor)) is not None:
            found.append(self._close(self.cursor, cut))
        return found

    def rest(self) -> list[Window]:
        """Return what is left up to the last reading."""
        ends = [until for line in self._lines if (until := line.known_until()) is not None]
        found = []
        while self.cursor is not None and ends and self.cursor < max(ends):
            breaks = [t for line in self._lines for t in line.breaks(self.cursor)]
            found.append(self._close(self.cursor, min([*breaks, max(ends)])))
        return found

    def blind(self, until: Nanoseconds) -> None:
        """Record that requests until then were given up before their energy was known."""
        self._blind_until = max(self._blind_until, until)

    def _begin(self, now: Nanoseconds) -> None:
        starts = [line.known_from() for line in self._lines]
        known = [start for start in starts if start is not None]
        if known and (len(known) == len(starts) or now - min(known) > STALLED_AFTER):
            self.cursor = min(known)
            for line in self._lines:
                if line.known_from() is None:
                    line.cut(self.cursor)  # what comes to light of it later counts after that

    def _close(self, start: Nanoseconds, cut: Nanoseconds) -> Window:
        lead = self._lead()
        edges = [t for t in lead.times if start < t < cut] if lead is not None else []
        inner = [
            (t, Microjoules(sum(line.energy(t) - line.energy(start) for line in self._lines))) for t in edges
        ]
        energy, gaps = {}, {}
        for line in self._lines:
            energy[line.device.id] = Microjoules(line.energy(cut) - line.energy(start))
            gaps[line.device.id] = line.gap_within(start, cut)
            line.cut(cut)
        self.cursor = cut
        return Window(start, cut, energy, gaps, inner, blind=start < self._blind_until)

    def _risen(self, start: Nanoseconds, end: Nanoseconds) -> Microjoules:
        """Return the energy of all devices between two instants."""
        return Microjoules(sum(line.energy(end) - line.energy(start) for line in self._lines))

    def _next_cut(self, start: Nanoseconds) -> Nanoseconds | None:
        waiting = [until for line in self._lines if (until := self._waits_for(line)) is not None]
        lead = self._lead()
        if lead is None or not waiting:
            return None
        horizon, shortest = min(waiting), SHORTEST_WINDOW_BY_POWER if self.by_power else SHORTEST_WINDOW
        breaks = [t for line in self._lines for t in line.breaks(start)]
        cuts = [t for t in breaks if t <= horizon]
        cuts += [t for t in lead.times if start + shortest <= t <= horizon][:1]
        if not cuts and horizon - start >= 2 * shortest and lead.times[-1] < horizon:
            return horizon
        return min(cuts, default=None)

    def _waits_for(self, line: Timeline) -> Nanoseconds | None:
        """Return the instant up to which a device is known; ``None`` if the others do not wait for it."""
        last = line.last_good()
        if last is None or last < self._newest() - STALLED_AFTER:
            return None
        return line.settled_until()

    def _newest(self) -> Nanoseconds:
        return max(
            (last for line in self._lines if (last := line.last_good()) is not None), default=Nanoseconds(0)
        )

    def _lead(self) -> Timeline | None:
        """Return the device at whose edges windows are cut: the first that is alive."""
        newest = self._newest()
        alive = [
            line for line in self._lines if line.times and (line.last_good() or 0) >= newest - STALLED_AFTER
        ]
        return alive[0] if alive else None
