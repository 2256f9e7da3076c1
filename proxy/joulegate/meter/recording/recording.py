"""One recording: what a running meter sees, as the lines of a trace. Pure: clocks are arguments.

The rows of a request are written when it ends, so that they say what only its end tells (that it was a job);
so they are not in the order of time, and who writes the files sorts them.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from joulegate import __version__
from joulegate.meter.recording.request_rows import RequestRow, is_image
from joulegate.model import (
    WORKLESS,
    Device,
    DeviceId,
    DeviceLoad,
    EnergySample,
    JobNote,
    SourceFailure,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanOpened,
    UpstreamSetup,
)
from joulegate.replay.replay_setup import KINDS
from joulegate.replay.rows import MachineRow, ProcessesRow, SampleRow, TraceOrigin, UpstreamRow, sample_time
from joulegate.units import Nanoseconds, seconds

QUEUED = 64 << 20
"""Bytes that wait for a reader; beyond it the recording ends, for the meter never waits."""
HELD = 1_000_000
"""Chunks of requests under way, at some 60 bytes each; beyond it the recording ends."""
REMEMBERED = 100_000
"""Requests that ended whose repeated events are recognised."""

Kind = Literal["trace", "nvml", "setup", "end"]
"""What a line holds."""


class Reason(StrEnum):
    """Why a recording ended."""

    DONE = "done"
    """Its time was over."""
    STOPPED = "stopped"
    """Its reader asked for it."""
    SLOW = "slow"
    """Its reader read too slowly."""
    CROWDED = "crowded"
    """More was under way at once than is kept."""
    METER_STOPPED = "meter_stopped"
    FAILED = "failed"
    """A fault of the meter's; see its log."""


class Summary(Struct, frozen=True):
    """The last line of a recording."""

    reason: Reason
    seconds: float
    requests: int
    """Requests in the trace, also those that have no end."""
    readings: int
    clipped: int
    """Requests that came before the recording began."""
    left_out: int
    """Requests to servers of which no device was read: nothing can be said of their energy."""


class Host(Struct, frozen=True):
    """What a recording must know of the meter, as it is at any moment."""

    devices: tuple[Device, ...]
    upstreams: Mapping[str, UpstreamSetup]
    method: str
    idle_watts: Callable[[], float | None]
    """Gives the idle power of all devices together, if all of it is known."""


class Recording:
    """Takes events and readings, and keeps lines until they are fetched."""

    def __init__(
        self, host: Host, origin: Nanoseconds, until: Nanoseconds, *, queued: int = QUEUED, held: int = HELD
    ) -> None:
        self._host = host
        self._origin = origin
        self._until = until
        self._latest = origin
        self._most_queued, self._most_held = queued, held
        self._index = {device.id: place for place, device in enumerate(host.devices)}
        self._read: set[DeviceId] = set()
        self._loads: dict[DeviceId, ProcessesRow] = {}
        self._upstreams: dict[str, UpstreamSetup] = {}
        self._drawing: set[str] = set()
        self._requests: dict[SpanId, RequestRow] = {}
        self._over: OrderedDict[SpanId, None] = OrderedDict()
        self._lines: deque[bytes] = deque()
        self._queued = self._held = 0
        self._counted = self._readings = self._clipped = self._left_out = 0
        self.ended = False
        """Nothing more will come than what waits to be fetched."""
        self._put("setup", self._machine())

    @property
    def until(self) -> Nanoseconds:
        """When its time is over."""
        return self._until

    # --- what the meter sees

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Accept a reading."""
        gpu = self._index.get(sample.device)
        if self.ended or gpu is None or not self._origin <= sample.t <= self._until:
            return
        row = _reading(sample, sample_time(sample.t - self._origin), gpu)
        if row is None:
            return
        load = self._loads.get(sample.device)
        if load is not None and row.error is None and load.t <= row.t:
            row = replace(row, processes=self._loads.pop(sample.device))
        self._latest = max(self._latest, sample.t)
        if row.error is None:
            self._read.add(sample.device)
        self._readings += 1
        self._put("nvml", row)

    def load(self, load: DeviceLoad) -> None:
        """Accept a report on processes: it is told with the next reading of its device."""
        since, t = (sample_time(at - self._origin) for at in (load.since, load.t))
        if self.ended or not 0 <= since < t:
            return
        self._loads[load.device] = ProcessesRow(since, t, load.own, load.foreign)

    def event(self, event: SpanEvent) -> None:
        """Accept an event; one that is known, or later than the recording, changes nothing."""
        if self.ended:
            return
        if isinstance(event, SpanOpened):
            self.open(event, is_answered=False)
        elif isinstance(event, SpanClosed):
            if event.first_byte is not None:
                self.event(SpanFirstByte(event.id, event.first_byte))
            self._close(event)
        elif not isinstance(event, JobNote) and (request := self._requests.get(event.id)) is not None:
            self._held += request.take(event, self._until)
            if self._held > self._most_held:
                self.finish(Reason.CROWDED, self._latest)

    def open(self, opened: SpanOpened, *, is_answered: bool) -> None:
        """Accept the start of a request; ``is_answered`` if its answer began before the recording did."""
        known = opened.id in self._requests or opened.id in self._over
        if known or opened.t > self._until or opened.work in WORKLESS:
            return
        if not self._is_measured(opened.upstream):
            self._left_out += 1
            return
        request = self._requests[opened.id] = RequestRow(opened, self._origin, is_answered=is_answered)
        self._counted += 1
        self._clipped += request.is_clipped

    # --- its end

    def finish(self, reason: Reason, now: Nanoseconds) -> None:
        """End it: requests that are under way have no end."""
        if self.ended:
            return
        self.ended = True
        for name in self._host.upstreams:
            self._locate(name)
        for request in self._requests.values():
            self._write("trace", *request.rows(None))
        self._requests.clear()
        self._write("setup", self._machine())
        self._write("end", self._summary(reason, now))

    def fail(self) -> None:
        """End it after a fault, with nothing of what is under way."""
        self.ended = True
        self._requests.clear()
        self._write("end", self._summary(Reason.FAILED, self._latest))

    def fetch(self, most: int) -> bytes:
        """Return whole lines that wait, about so many bytes of them."""
        found: list[bytes] = []
        size = 0
        while self._lines and size < most:
            found.append(self._lines.popleft())
            size += len(found[-1])
        self._queued -= size
        return b"".join(found)

    def _close(self, closed: SpanClosed) -> None:
        if closed.t > self._until:
            return
        self._over[closed.id] = None
        if len(self._over) > REMEMBERED:
            self._over.popitem(last=False)
        request = self._requests.pop(closed.id, None)
        if request is None:
            return
        self._held -= request.held
        over_before = closed.t < self._origin  # told late: it was over before the recording began
        if over_before or request.opened.work_in(closed.facts) in WORKLESS:
            self._counted -= 1
            self._clipped -= request.is_clipped
            return
        learned = self._learn_kind(request.opened, closed)
        self._put("trace", *request.rows(closed))
        if learned:
            self._put("setup", self._machine())

    def _summary(self, reason: Reason, now: Nanoseconds) -> Summary:
        time = seconds(Nanoseconds(min(now, self._until) - self._origin))
        counts = (self._counted, self._readings, self._clipped, self._left_out)
        return Summary(reason, round(time, 3), *counts)

    # --- the setup

    def _is_measured(self, name: str) -> bool:
        """Whether the devices of an upstream were read."""
        if name in self._upstreams:
            return True
        found = self._locate(name)
        if found:
            self._put("setup", self._machine())
        return found

    def _locate(self, name: str) -> bool:
        """Find where an upstream works, once: a trace has one place for each."""
        setup = self._host.upstreams.get(name, UpstreamSetup())
        if not setup.devices or not self._read.issuperset(setup.devices):
            return False
        self._upstreams.setdefault(name, setup)
        return True

    def _learn_kind(self, opened: SpanOpened, closed: SpanClosed) -> bool:
        """Record image work; return whether it is the first of its upstream."""
        if opened.upstream in self._drawing or not is_image(opened.asked, closed.facts):
            return False
        self._drawing.add(opened.upstream)
        return True

    def _machine(self) -> MachineRow:
        devices = self._host.devices
        return MachineRow(
            upstreams={name: self._upstream(name, setup) for name, setup in self._upstreams.items()},
            n_gpus=len(devices),
            idle_w=self._host.idle_watts(),
            devices=tuple(
                TraceOrigin(place, device.name, device.component.value, device.source, device.tier.value)
                for place, device in enumerate(devices)
            ),
            method=self._host.method,
            version=__version__,
        )

    def _upstream(self, name: str, setup: UpstreamSetup) -> UpstreamRow:
        found = "image" if name in self._drawing else "llm"
        kind = setup.kind if setup.kind in KINDS else found
        return UpstreamRow(kind, tuple(self._index[device] for device in setup.devices), setup.concurrency)

    # --- lines

    def _put(self, kind: Kind, *rows: Struct) -> None:
        """Keep lines, all or none; they may be the ones that are too many."""
        if self.ended:
            return
        self._write(kind, *rows)
        if self._queued > self._most_queued:
            self.finish(Reason.SLOW, self._latest)

    def _write(self, kind: Kind, *rows: Struct) -> None:
        for row in rows:
            line = msgspec.json.encode({kind: row}) + b"\n"
            self._lines.append(line)
            self._queued += len(line)


def _reading(sample: EnergySample | SourceFailure, t: float, gpu: int) -> SampleRow | None:
    if isinstance(sample, SourceFailure):
        return SampleRow(t, gpu, error=sample.code)
    energy = None if sample.counter is None or sample.counter < 0 else sample.counter // 1000
    power = None if sample.power is None or sample.power < 0 else sample.power // 1000
    if energy is None and power is None:
        return None
    return SampleRow(t, gpu, energy, power, sample.sm_clock_mhz)
