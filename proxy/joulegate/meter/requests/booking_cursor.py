"""Up to where the books go: windows in the order of time, and the reading at which a new meter goes on.

Attribution may book a window before an older one. Here windows of a device wait for their turn, so that
at every moment all energy before one instant is booked and none after it: a consistent cut, which a meter
that was killed can go on from without counting a joule twice or not at all. Pure.
"""

from collections import deque
from collections.abc import Iterable

from joulegate.ledger.rows import StoredReading
from joulegate.model import DeviceId, EnergySample, SourceFailure, WindowBooks
from joulegate.units import NANO, Microjoules, Nanoseconds

PATIENCE = 300 * NANO
"""A window whose turn has not come for so long is booked all the same: attribution never waits so long."""


class BookingCursor:
    """The position of every device."""

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._devices: dict[DeviceId, _Position] = {}

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Accept a reading."""
        if isinstance(sample, EnergySample):
            self._of(sample.device).sample(sample)

    def book(self, books: Iterable[WindowBooks], now: Nanoseconds) -> list[WindowBooks]:
        """Accept windows as they were booked; return those whose turn has come."""
        for window in books:
            self._of(window.device).waiting.append(window)
        return [window for device in self._devices.values() for window in device.due(now)]

    def drain(self) -> list[WindowBooks]:
        """Return all windows that wait."""
        return [window for device in self._devices.values() for window in device.drain()]

    def reached(self, devices: Iterable[DeviceId], t: Nanoseconds) -> bool:
        """Whether all energy of these devices up to an instant is booked."""
        return all(self._of(device).end >= t for device in devices)

    def reached_by_all(self) -> Nanoseconds:
        """Return the instant up to which all energy of every device is booked; 0 before any is."""
        return min((position.end for position in self._devices.values()), default=Nanoseconds(0))

    def readings(self) -> tuple[StoredReading, ...]:
        """Return the reading of each device at its position, as far as one is known."""
        return tuple(
            StoredReading(device, position.end, position.counter, self._boot)
            for device, position in self._devices.items()
            if position.counter is not None
        )

    def _of(self, device: DeviceId) -> "_Position":
        return self._devices.setdefault(device, _Position())


class _Position:
    """One device."""

    def __init__(self) -> None:
        self.end = Nanoseconds(0)
        self.counter: Microjoules | None = None
        self.waiting: list[WindowBooks] = []
        self._samples: deque[tuple[Nanoseconds, Microjoules]] = deque()
        self._begun = False

    def sample(self, sample: EnergySample) -> None:
        if not self.end:
            self.end, self.counter = sample.t, sample.counter
        if sample.counter is None:
            return
        if not self._samples or sample.t > self._samples[-1][0]:
            self._samples.append((sample.t, sample.counter))

    def due(self, now: Nanoseconds) -> list[WindowBooks]:
        self.waiting.sort(key=lambda window: window.start)
        found = []
        while self.waiting and (self._is_next(self.waiting[0]) or now - self.waiting[0].end > PATIENCE):
            found.append(self._pass(self.waiting.pop(0)))
        return found

    def drain(self) -> list[WindowBooks]:
        self.waiting.sort(key=lambda window: window.start)
        found, self.waiting = [self._pass(window) for window in self.waiting], []
        return found

    def _is_next(self, window: WindowBooks) -> bool:
        # The first one of all begins where attribution found the first energy.
        return window.start <= self.end or not self._begun

    def _pass(self, window: WindowBooks) -> WindowBooks:
        self._begun = True
        if window.end > self.end:
            self.end = window.end
            self.counter = self._counter_after(window)
        return window

    def _counter_after(self, window: WindowBooks) -> Microjoules | None:
        """Return the counter's value at the end of a window: its energy on top of the value before.

        The readings around that instant bound it; they decide where a restart of the counter, a gap or a
        rejected step makes the sum wrong.
        """
        if self.counter is None or not self._samples:
            return None
        restarted = False
        while len(self._samples) > 1 and self._samples[1][0] <= window.end:
            _, before = self._samples.popleft()
            restarted = restarted or self._samples[0][1] < before
        low = self._samples[0][1]
        after = self._samples[1][1] if len(self._samples) > 1 else low
        if restarted or after < low:
            return low
        return Microjoules(min(max(self.counter + window.counter, low), after))
