"""Reads every device at its cadence; a call that hangs or fails concerns its own device only.

Each device has a reader thread. One watch thread looks for calls over their deadline: such a reader is
stalled, which is told once, and it is left alone until its call returns, if ever. Threads are daemons and
a stalled one is never joined, so nothing waits for a driver.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from msgspec import Struct

from joulegate.clock import monotonic
from joulegate.errors import SourceInvalid, SourceUnavailable
from joulegate.log import logger
from joulegate.model import Device, DeviceId, EnergySample, SourceFailure
from joulegate.ports import EnergySource
from joulegate.units import NANO, Microwatts, Nanoseconds, seconds

PERIOD = Nanoseconds(100_000_000)
"""Readings at 10 Hz: faster ones gain nothing, for counters move each 20 to 100 ms."""
DEADLINE = Nanoseconds(250_000_000)
PATIENCE = 10
"""Failures in a row after which readings are spaced out."""
SHORTEST_PAUSE = Nanoseconds(NANO)
LONGEST_PAUSE = Nanoseconds(60 * NANO)

Reading = EnergySample | SourceFailure


class ReaderHealth(Struct, frozen=True):
    """How the readings of one device go."""

    up: bool | None = None
    """Whether the last reading was good; ``None`` before the first."""
    stalled: bool = False
    """A reading is over its deadline now."""
    errors: tuple[tuple[str, int], ...] = ()
    """Failed readings by code since the start."""
    last: EnergySample | None = None
    """The last good reading."""
    power: Microwatts | None = None
    """As read, or what the counter rose by over about a second where the source reads no power."""


class Sampling(Protocol):
    """What the meter needs of a sampler."""

    def start(self) -> None:
        """Begin to read."""
        ...

    def stop(self) -> bool:
        """End the reading."""
        ...

    def health(self) -> Mapping[DeviceId, ReaderHealth]:
        """Return the state of every device."""
        ...


class Watch:
    """Keeps the state of one device's readings. Pure: time is an argument; not safe for threads by itself."""

    def __init__(self, device: DeviceId, *, period: Nanoseconds, deadline: Nanoseconds) -> None:
        self._device = device
        self._period = period
        self._deadline = deadline
        self._began: Nanoseconds | None = None
        self._stalled = False
        self._up: bool | None = None
        self._failures = 0
        self._errors: dict[str, int] = {}
        self._last: EnergySample | None = None
        self._mark: EnergySample | None = None
        """The reading since which a rise of the counter is power."""
        self._rise: Microwatts | None = None

    def begin(self, t: Nanoseconds) -> None:
        """Record that a call begins."""
        self._began = t

    def overdue(self, t: Nanoseconds) -> SourceFailure | None:
        """Return a failure if the running call is over its deadline and this was not told yet."""
        if self._began is None or self._stalled or t - self._began <= self._deadline:
            return None
        self._stalled = True
        waited = f"a reading takes longer than {seconds(self._deadline):g} s"
        return self._fail(SourceFailure(self._device, t, "stalled", waited))

    def end(self, t: Nanoseconds, reading: Reading) -> Reading | None:
        """Accept what a call gave; return what is news.

        A value that came after the deadline has no certain time: it is dropped.
        """
        late = self.overdue(t)
        was_stalled, self._stalled, self._began = self._stalled, False, None
        if was_stalled:
            return late
        if isinstance(reading, SourceFailure):
            return self._fail(reading)
        self._up, self._failures, self._last = True, 0, reading
        self._note_rise(reading)
        return reading

    def due(self, began: Nanoseconds, t: Nanoseconds) -> Nanoseconds:
        """Return the time of the next call: one period after the last began, later after many failures."""
        if self._failures <= PATIENCE:
            return Nanoseconds(max(began + self._period, t))
        doublings = min(self._failures - PATIENCE - 1, 30)
        return Nanoseconds(t + max(min(SHORTEST_PAUSE << doublings, LONGEST_PAUSE), self._period))

    def health(self) -> ReaderHealth:
        """Return the present state."""
        read = self._last.power if self._last else None
        power = self._rise if read is None else read
        return ReaderHealth(self._up, self._stalled, tuple(sorted(self._errors.items())), self._last, power)

    def _note_rise(self, reading: EnergySample) -> None:
        mark = self._mark
        if mark is None or mark.counter is None or reading.counter is None or reading.counter < mark.counter:
            self._mark, self._rise = reading, None
        elif reading.t - mark.t >= NANO:
            self._mark = reading
            self._rise = Microwatts((reading.counter - mark.counter) * NANO // (reading.t - mark.t))

    def _fail(self, failure: SourceFailure) -> SourceFailure:
        self._up = False
        self._failures += 1
        self._errors[failure.code] = self._errors.get(failure.code, 0) + 1
        return failure


class _DeviceReader:
    """A device, its watch, and the lock between its own thread and the watch thread."""

    def __init__(self, device: Device, watch: Watch) -> None:
        self.device = device
        self.watch = watch
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.lost_at: Nanoseconds | None = None


class Sampler:
    """Reads devices until it is stopped and delivers every good reading, every failure, and each stall once.

    ``deliver`` is called from the sampler's threads, for one device in the order of time; it must be quick
    and must not raise (``loop.call_soon_threadsafe`` into an event loop is meant).
    """

    def __init__(
        self,
        source: EnergySource,
        devices: Sequence[Device],
        deliver: Callable[[Reading], None],
        *,
        period: Nanoseconds = PERIOD,
        deadline: Nanoseconds = DEADLINE,
        clock: Callable[[], Nanoseconds] = monotonic,
    ) -> None:
        self._source = source
        self._deliver = deliver
        self._deadline = deadline
        self._clock = clock
        self._stop = threading.Event()
        self._readers = {
            device.id: _DeviceReader(device, Watch(device.id, period=period, deadline=deadline))
            for device in devices
        }
        self._log = logger("meter")

    def start(self) -> None:
        """Begin to read. Call it once."""
        for reader in self._readers.values():
            reader.thread = _spawn(f"read {reader.device.id}", partial(self._read_on, reader))
        _spawn("watch readings", self._watch_on)

    def stop(self) -> bool:
        """End the reading; return whether every call has returned, so that the source may be closed.

        Waits for running calls up to the deadline; one that hangs is abandoned.
        """
        self._stop.set()
        running = [reader.thread for reader in self._readers.values() if reader.thread is not None]
        until = monotonic() + self._deadline
        for thread in running:
            thread.join(max(seconds(Nanoseconds(until - monotonic())), 0.0))
        return not any(thread.is_alive() for thread in running)

    def health(self) -> Mapping[DeviceId, ReaderHealth]:
        """Return the state of every device; never waits for a call."""
        return {device: self._health(reader) for device, reader in self._readers.items()}

    # --- threads ---

    def _read_on(self, reader: _DeviceReader) -> None:
        while not self._stop.is_set():
            began = self._clock()
            with reader.lock:
                reader.watch.begin(began)
            reading = self._read(reader.device.id)
            with reader.lock:
                ended = self._clock()
                self._tell(reader, reader.watch.end(ended, reading))
                due = reader.watch.due(began, ended)
            self._stop.wait(seconds(Nanoseconds(due - ended)))

    def _watch_on(self) -> None:
        tick = seconds(self._deadline) / 5
        while not self._stop.wait(tick):
            for reader in self._readers.values():
                with reader.lock:
                    self._tell(reader, reader.watch.overdue(self._clock()))

    def _read(self, device: DeviceId) -> Reading:
        try:
            return self._source.read(device)
        except SourceUnavailable as error:
            return SourceFailure(device, self._clock(), error.code, str(error))
        except SourceInvalid as error:
            return SourceFailure(device, self._clock(), "invalid", str(error))
        except Exception as error:  # a fault of a plug-in ends a reading, not the metering
            return SourceFailure(device, self._clock(), type(error).__name__, str(error))

    # --- news ---

    def _tell(self, reader: _DeviceReader, news: Reading | None) -> None:
        """Deliver; log the first failure and the recovery. Called with the reader's lock held."""
        if news is None or self._stop.is_set():
            return
        self._deliver(news)
        device = reader.device
        if isinstance(news, SourceFailure):
            if reader.lost_at is None:
                reader.lost_at = news.t
                self._log.warning("source.lost", device=device.id, source=device.source, code=news.code,
                                  message=news.message)  # fmt: skip
        elif reader.lost_at is not None:
            gap, reader.lost_at = Nanoseconds(news.t - reader.lost_at), None
            self._log.info(
                "source.recovered", device=device.id, source=device.source, gap_seconds=seconds(gap)
            )

    def _health(self, reader: _DeviceReader) -> ReaderHealth:
        with reader.lock:
            return reader.watch.health()


def _spawn(name: str, work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
