"""Modelled energy of servers that work on the processor: CPU time times watts per core.

Never a measurement: it knows nothing of clocks, vector units, memory or the machine's own draw. Each
upstream on this host is a device of its own, ``cpu:<upstream>``, so that no server pays for another.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import psutil
from msgspec import Struct

from joulegate.clock import monotonic
from joulegate.config.quantities import power
from joulegate.errors import SourceUnavailable
from joulegate.model import Component, Device, DeviceId, EnergySample, Tier
from joulegate.ports.plugins import Context
from joulegate.processes import Serving, serving, serving_any, with_children
from joulegate.units import NANO, Microjoules, Microwatts, Nanoseconds, energy_over, nanoseconds, watts

LOOK_AGAIN = Nanoseconds(NANO)
"""Time between two looks for the server's children, or for the server if it is missing."""
FIND_AGAIN = Nanoseconds(10 * NANO)
"""Time between two searches for who holds the port of a server that runs: they cost tens of milliseconds."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the source.

    The default of 5 W per busy core lies between two common server processors, rated power over cores:
    AMD EPYC 7763, 280 W / 64 = 4.4 W (https://techgage.com/article/amd-epyc-milan-launch-performance/) and
    Intel Xeon Platinum 8592+, 350 W / 64 = 5.5 W. It takes the busy threads of one core for two cores.
    """

    watts_per_core: str = "5 W"
    """Power of one busy core."""
    idle_watts: str = "0 W"
    """Power of each server while it runs, busy or not."""


class _Upstream:
    """The processes of one upstream and the CPU time that they took since the meter first saw them."""

    def __init__(self, device: Device, find: Callable[[], Serving]) -> None:
        self.device = device
        self.lock = threading.Lock()
        self.processes: Sequence[psutil.Process] = ()
        self._find = find
        self._roots: Sequence[psutil.Process] = ()
        self._next_look = self._next_find = Nanoseconds(0)
        self._seen: dict[psutil.Process, float] = {}
        self._missing = "nobody looked yet"
        self._last: Nanoseconds | None = None
        self._energy = 0

    def read(self, t: Nanoseconds, core: Microwatts, idle: Microwatts) -> Microjoules:
        """Return the energy so far; it only grows, also when processes come and go."""
        if t >= self._next_look:
            self._look(t)
        used = self._cpu_time()
        if not self._seen:
            self._last = None
            raise SourceUnavailable(f"{self.device.name}: {self._missing}", code="no_process")
        self._energy += energy_over(core, used)
        if self._last is not None:
            self._energy += energy_over(idle, Nanoseconds(t - self._last))
        self._last = t
        return Microjoules(self._energy)

    def _look(self, t: Nanoseconds) -> None:
        """Find the processes; the work of those that were there before the meter is not counted."""
        self._next_look = Nanoseconds(t + LOOK_AGAIN)
        if t >= self._next_find or not any(_serves(root) for root in self._roots):
            self._next_find = Nanoseconds(t + FIND_AGAIN)
            found = self._find()
            self._missing = found.reason or "its process ended"
            self._roots = [process for process in with_children(found.pids) if process.pid in found.pids]
        self.processes = with_children(root.pid for root in self._roots)
        if not self._seen:
            self._seen = {process: used for process in self.processes if (used := _used(process)) is not None}

    def _cpu_time(self) -> Nanoseconds:
        """Return the CPU time since the last call: what a process had when it went is kept."""
        total, alive = 0.0, {}
        for process in self.processes:
            used = _used(process)
            if used is not None:
                total += max(used - self._seen.get(process, 0.0), 0.0)
                alive[process] = used
        self._seen = alive
        return nanoseconds(total)


class Plugin:
    """Models the power of each upstream on this host.

    ``upstreams`` maps its name to host and port of each replica.
    """

    order = 30

    def __init__(
        self,
        options: Options | None = None,
        *,
        upstreams: Mapping[str, Sequence[tuple[str, int]]],
        clock: Callable[[], Nanoseconds] = monotonic,
        find: Callable[[str, int], Serving] = serving,
    ) -> None:
        options = options or Options()
        self._core = power(options.watts_per_core)
        self._idle = power(options.idle_watts)
        self._addresses = upstreams
        self._clock = clock
        self._find = find
        self._upstreams: dict[DeviceId, _Upstream] = {}

    @classmethod
    def from_context(cls, options: Options, context: Context) -> "Plugin":
        """Return the source for the upstreams of the configuration."""
        return cls(options, upstreams=context.upstreams)

    def open(self) -> Sequence[Device]:
        """Return a device for each upstream on this host, also for one that does not run yet.

        Raises ``SourceUnavailable`` if there is no such upstream.
        """
        found, elsewhere = [], []
        for index, (name, addresses) in enumerate(self._addresses.items()):
            find = partial(serving_any, addresses, self._find)
            at = find()
            if at.local:
                found.append(_Upstream(self._device(index, name), find))
            else:
                elsewhere.append(f"{name}: {at.reason}")
        if not found:
            reason = "; ".join(elsewhere) or "no upstream is configured"
            raise SourceUnavailable(f"no server on this host to model: {reason}", code="no_upstream")
        self._upstreams = {upstream.device.id: upstream for upstream in found}
        return [upstream.device for upstream in found]

    def read(self, device: DeviceId) -> EnergySample:
        """Return the modelled energy of one upstream since the meter first saw its processes.

        CPU time comes in steps of the kernel's clock tick, 10 ms as a rule. The work that a child did
        between the last reading and its end is lost.
        """
        upstream = self._upstreams.get(device)
        if upstream is None:
            raise SourceUnavailable(f"there is no upstream {device} to model", code="no_upstream")
        with upstream.lock:
            t = self._clock()
            return EnergySample(device, t, upstream.read(t, self._core, self._idle))

    def devices_of(self, pids: Iterable[int]) -> Sequence[DeviceId]:
        """Return the upstreams to which any of these processes belongs, as of the last readings."""
        wanted = set(pids)
        upstreams = self._upstreams.items()
        return [device for device, at in upstreams if wanted & {process.pid for process in at.processes}]

    def close(self) -> None:
        """Forget the processes."""
        self._upstreams = {}

    def _device(self, index: int, name: str) -> Device:
        note = f"modelled: {watts(self._core):g} W per busy core, not measured"
        if self._idle:
            note += f"; and {watts(self._idle):g} W while it runs"
        return Device(
            DeviceId(f"cpu:{name}"),
            index,
            f"CPU of {name}",
            "cpu_estimate",
            Tier.ESTIMATE,
            Component.CPU,
            note=note,
        )


def _used(process: psutil.Process) -> float | None:
    """Return the seconds of CPU time of a process, ``None`` if it is gone."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def _serves(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
