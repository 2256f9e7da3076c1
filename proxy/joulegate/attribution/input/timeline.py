"""The energy of one device over time, by its readings.

Readings become a cumulative integer function of time. It is linear between the instants at which the
counter moved, flat where nothing is known, and its value at an instant never changes once a window was
cut there, so that windows telescope exactly.
"""

from bisect import bisect_left, bisect_right
from collections import Counter

from joulegate.model import Device, EnergySample, SourceFailure
from joulegate.units import NANO, Microjoules, Microwatts, Nanoseconds, nanoseconds

FAR_POLL = nanoseconds(0.3)
"""After a poll this far back, half-way is no estimate of when the counter moved."""
FAR_LAG = nanoseconds(0.03)
"""How old the last update of a counter is on average when polled rarely."""
POWER_GAP = nanoseconds(2)
"""Between power readings further apart the power is unknown."""
STILL_TIME = nanoseconds(1)
"""A counter that did not move for this long stood still; slower updates were seen nowhere."""
JUMP_FACTOR = 1.5
"""A step of the counter above this multiple of the power limit cannot be energy."""


class Timeline:
    """The cumulative energy of one device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.times: list[Nanoseconds] = []
        """Instants at which the cumulative energy is known, strictly increasing."""
        self.totals: list[Microjoules] = []
        """Cumulative energy at ``times``: never smaller than before."""
        self.gaps: list[tuple[Nanoseconds, Nanoseconds]] = []
        """Stretches of unknown energy after the last cut."""
        self.gap = Nanoseconds(0)
        """Sum of all gaps so far."""
        self.resets = 0
        self.rejected: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.power: Microwatts | None = None
        self.by_power = False
        """Energy is the integral of power readings: the device has no counter."""
        self._last: EnergySample | None = None
        self._suspect: EnergySample | None = None
        self._cut_at = Nanoseconds(0)
        """A cut that was made before anything was known: what comes to light later counts after it."""

    def fail(self, failure: SourceFailure) -> None:
        """Record a failed reading: what lies between the good ones is settled when the next one comes."""
        self.failures[failure.code] += 1

    def add(self, sample: EnergySample) -> None:
        """Add a good reading; one that is older than the newest changes nothing."""
        if self._last is not None and sample.t <= self._last.t:
            self.rejected["late"] += 1
            return
        self.power = sample.power if sample.power is not None else self.power
        if sample.counter is not None:
            self._count(sample, sample.counter)
        elif sample.power is not None and (self._last is None or self._last.counter is None):
            self.by_power = True
            self._integrate(sample, sample.power)

    def energy(self, t: Nanoseconds) -> Microjoules:
        """Return the cumulative energy at ``t``, rounded down; flat outside of what is known."""
        place = bisect_right(self.times, t)
        if place == 0:
            return self.totals[0] if self.totals else Microjoules(0)
        if place == len(self.times):
            return self.totals[-1]
        before, after = self.times[place - 1], self.times[place]
        rise = self.totals[place] - self.totals[place - 1]
        return Microjoules(self.totals[place - 1] + rise * (t - before) // (after - before))

    def known_from(self) -> Nanoseconds | None:
        """Return the first instant that is not settled yet."""
        return self.times[0] if self.times else None

    def known_until(self) -> Nanoseconds | None:
        """Return the last instant at which the cumulative energy is known."""
        return self.times[-1] if self.times else None

    def settled_until(self) -> Nanoseconds | None:
        """Return the instant up to which windows may be cut: a counter that stands still counts as known."""
        if self._last is None or not self.times:
            return None
        return max(self.times[-1], Nanoseconds(self._last.t - 2 * STILL_TIME))

    def last_good(self) -> Nanoseconds | None:
        """Return the instant of the newest good reading."""
        return None if self._last is None else self._last.t

    def breaks(self, after: Nanoseconds) -> list[Nanoseconds]:
        """Return the ends of the gaps after an instant: no window may run across one."""
        return [t for gap in self.gaps for t in gap if t > after]

    def gap_within(self, start: Nanoseconds, end: Nanoseconds) -> Nanoseconds:
        """Return the time between two instants whose energy is unknown."""
        return Nanoseconds(sum(max(0, min(end, b) - max(start, a)) for a, b in self.gaps))

    def cut(self, t: Nanoseconds) -> None:
        """Fix the value at ``t`` for ever and forget what lies before."""
        if not self.times:
            self._cut_at = t
            return
        total = self.energy(t)
        place = bisect_left(self.times, t)
        exact = place < len(self.times) and self.times[place] == t
        self.times[: place + exact] = [t]
        self.totals[: place + exact] = [total]
        self.gaps = [gap for gap in self.gaps if gap[1] > t]

    def _count(self, sample: EnergySample, counter: Microjoules) -> None:
        last, suspect = self._last, self._suspect
        if last is None or last.counter is None:
            self._begin(sample)
            return
        if suspect is not None and suspect.counter is not None:
            self._suspect = None
            if counter < last.counter or self._jumps(last, sample):
                self._restart(last, suspect)
                last = suspect
        if last.counter is not None and counter < last.counter:
            self.resets += 1
            self._restart(last, sample)
        elif self._jumps(last, sample):
            self.rejected["jump"] += 1
            self._suspect = sample
        else:
            self._move(last, sample, counter - (last.counter or 0))

    def _begin(self, sample: EnergySample) -> None:
        self._last = sample
        t = max(sample.t, self._cut_at)
        if not self.times or self.times[-1] < t:
            self.times.append(t)
            self.totals.append(self.totals[-1] if self.totals else Microjoules(0))

    def _restart(self, last: EnergySample, first: EnergySample) -> None:
        """Begin anew: what was drawn between this reading and the one before is unknown."""
        self.gaps.append((last.t, first.t))
        self.gap = Nanoseconds(self.gap + first.t - last.t)
        self._begin(first)

    def _move(self, last: EnergySample, sample: EnergySample, rise: int) -> None:
        self._last = sample
        if rise == 0:
            return
        if self.times and last.t - self.times[-1] > STILL_TIME:
            self._point(last.t, 0)
        edge = (sample.t + last.t) // 2 if sample.t - last.t < FAR_POLL else sample.t - FAR_LAG
        self._point(Nanoseconds(edge), rise)

    def _point(self, t: Nanoseconds, rise: int) -> None:
        """Add a rise that was complete at ``t``; a cut may already lie later than that."""
        if self.times and t <= self.times[-1]:
            t = Nanoseconds(self.times[-1] + 1)
        self.times.append(t)
        self.totals.append(Microjoules((self.totals[-1] if self.totals else 0) + rise))

    def _jumps(self, last: EnergySample, sample: EnergySample) -> bool:
        limit = self.device.power_limit
        if limit is None or last.counter is None or sample.counter is None:
            return False
        return (sample.counter - last.counter) * NANO > JUMP_FACTOR * limit * max(
            sample.t - last.t, NANO // 2
        )

    def _integrate(self, sample: EnergySample, power: Microwatts) -> None:
        last = self._last
        if last is None or last.power is None:
            self._begin(sample)
        elif sample.t - last.t > POWER_GAP:
            self._restart(last, sample)
        else:
            self._last = sample
            self._point(sample.t, (int(last.power) + int(power)) * (sample.t - last.t) // (2 * NANO))
