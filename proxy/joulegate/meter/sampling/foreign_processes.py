"""Looks, rarely, which processes use the devices, so that nobody pays for a stranger's work.

It has a thread of its own: such calls take the driver's lock and may hang, and no reading waits for them.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

from joulegate.clock import monotonic
from joulegate.errors import SourceUnavailable
from joulegate.log import logger
from joulegate.meter.sampling.sampler import ReaderHealth, Sampling
from joulegate.model import Device, DeviceId, DeviceLoad, ProcessUse
from joulegate.ports import ProcessObserver
from joulegate.units import NANO, Nanoseconds, seconds

BESIDE = Nanoseconds(NANO)
"""Between two looks at a device that a stranger uses: drivers sample about once a second."""
ALONE = Nanoseconds(5 * NANO)
"""Between two looks at a device that is the upstreams' alone."""
LONGEST = Nanoseconds(3 * NANO // 2)
"""A driver's sample says nothing about the time before that."""
OWN_KNOWN = Nanoseconds(30 * NANO)
"""For so long it holds who of the same processes belongs to an upstream: numbers are given anew."""

Owned = Callable[[DeviceId, Sequence[int]], frozenset[int] | None]
"""Gives which of the processes on a device belong to upstreams; ``None`` if that cannot be told."""


class DeviceProcesses:
    """What is known of the processes on one device. Pure: time is an argument."""

    def __init__(self, device: DeviceId, owned: Callable[[Sequence[int]], frozenset[int] | None]) -> None:
        self._device = device
        self._owned = owned
        self._pids: frozenset[int] = frozenset()
        self._own: frozenset[int] | None = frozenset()
        self._asked: Nanoseconds | None = None
        self._last: Nanoseconds | None = None
        self._told = False
        self.due: Nanoseconds | None = Nanoseconds(0)
        """When to look again; ``None`` if the device tells of no processes."""

    def take(self, t: Nanoseconds, uses: Sequence[ProcessUse]) -> DeviceLoad | None:
        """Accept what a look found; return a report if a stranger is there, or has just left."""
        last, self._last = self._last, t
        own = self._owners(t, frozenset(use.pid for use in uses))
        strangers = own is not None and any(use.pid not in own for use in uses)
        self.due = Nanoseconds(t + (BESIDE if strangers else ALONE))
        told, self._told = self._told, strangers
        if own is None or last is None or not (strangers or told):
            return None
        return DeviceLoad(
            self._device,
            since=Nanoseconds(max(last, t - LONGEST)),
            t=t,
            own=sum(use.percent for use in uses if use.pid in own),
            foreign=sum(use.percent for use in uses if use.pid not in own),
        )

    def fail(self, t: Nanoseconds, code: str) -> None:
        """Record that a look failed."""
        absent = code.endswith(("NotSupported", "FunctionNotFound", "NoPermission"))
        self._last, self.due = None, None if absent else Nanoseconds(t + ALONE)

    def _owners(self, t: Nanoseconds, pids: frozenset[int]) -> frozenset[int] | None:
        """Return who belongs to an upstream; asked anew when others are there than before."""
        if self._asked is None or pids != self._pids or t - self._asked >= OWN_KNOWN:
            self._pids, self._asked = pids, t
            self._own = self._owned(sorted(pids)) if pids else frozenset()
        return self._own


class ForeignProcesses:
    """Implements ``Sampling`` by a sampler, and reports on processes beside it."""

    def __init__(
        self,
        sampler: Sampling,
        observer: ProcessObserver,
        devices: Sequence[Device],
        owned: Owned,
        deliver: Callable[[DeviceLoad], None],
        *,
        clock: Callable[[], Nanoseconds] = monotonic,
    ) -> None:
        self._sampler = sampler
        self._observer = observer
        self._companies = {device.id: _company(device.id, owned) for device in devices}
        self._deliver = deliver
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch processes", daemon=True)
        self._log = logger("meter")

    def start(self) -> None:
        """Begin to read and to look. Call it once."""
        self._sampler.start()
        self._thread.start()

    def stop(self) -> bool:
        """End both; a look that hangs is left behind. Says whether every call has returned."""
        self._stop.set()
        read = self._sampler.stop()
        return read and not self._thread.is_alive()

    def health(self) -> Mapping[DeviceId, ReaderHealth]:
        """Return the state of every device's readings."""
        return self._sampler.health()

    def look(self) -> None:
        """Look at the devices that are due."""
        for device, company in self._companies.items():
            if company.due is None or self._clock() < company.due:
                continue
            try:
                load = company.take(self._clock(), self._observer.processes(device))
            except SourceUnavailable as error:
                company.fail(self._clock(), error.code)
            else:
                if load is not None and not self._stop.is_set():
                    self._deliver(load)

    def _watch(self) -> None:
        while not self._stop.wait(seconds(BESIDE) / 4):
            try:
                self.look()
            except Exception:  # evidence is lost, nothing else
                self._log.exception("processes.failed")
                return


def _company(device: DeviceId, owned: Owned) -> DeviceProcesses:
    return DeviceProcesses(device, lambda pids: owned(device, pids))
