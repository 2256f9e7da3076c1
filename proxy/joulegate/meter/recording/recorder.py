"""Listens to all that goes into attribution, and writes it into the recordings that run.

It stands where the attributor stands and hands everything on. Without a recording it keeps the requests
under way and the last readings: what a recording that begins now must know.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from joulegate import clock
from joulegate.errors import JoulegateError
from joulegate.log import logger
from joulegate.meter.recording.recording import QUEUED, Host, Reason, Recording
from joulegate.model import (
    Device,
    DeviceId,
    DeviceLoad,
    EnergySample,
    Settled,
    SourceFailure,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanOpened,
    UpstreamSetup,
    WindowBooks,
)
from joulegate.ports import Attributor, DeviceHealth
from joulegate.units import NANO, Microwatts, Nanoseconds, watts

AT_ONCE = 2
"""Recordings that may run at the same time."""
FRESH = NANO
"""ns: a reading not older than this is the first of a recording, which begins with it."""
LATE = NANO
"""ns after its time that a recording waits for what gates tell late."""
OPEN = 200_000
"""Requests under way; beyond it the oldest is forgotten, as in ``settlement.py``."""


class NothingToRecord(JoulegateError):
    """There is no energy source."""


class TooMany(JoulegateError):
    """As many recordings run as may: try again when one has ended."""


class _RecordedRequest(Struct, gc=False):
    opened: SpanOpened
    is_answered: bool = False


class Recorder:
    """Implements ``ports.Attributor`` by another one. All methods are for the event loop of the meter."""

    def __init__(
        self,
        attributor: Attributor,
        devices: Sequence[Device],
        upstreams: Mapping[str, UpstreamSetup],
        *,
        method: str,
        now: Callable[[], Nanoseconds] = clock.monotonic,
        queued: int = QUEUED,
    ) -> None:
        self._attributor = attributor
        self._upstreams = dict(upstreams)
        self._host = Host(tuple(devices), self._upstreams, method, self._idle_watts)
        self._now = now
        self._queued = queued
        self._open: OrderedDict[SpanId, _RecordedRequest] = OrderedDict()
        self._last: dict[DeviceId, EnergySample] = {}
        self._recordings: dict[str, Recording] = {}
        self._log = logger("meter")

    # --- recordings

    def begin(self, time: Nanoseconds) -> tuple[str, Recording]:
        """Begin a recording; return the name to end it by.

        Raises ``TooMany``, and ``NothingToRecord`` without an energy source.
        """
        if not self._host.devices:
            raise NothingToRecord("there is no energy source, so there is nothing to record: see the log")
        if len(self._recordings) >= AT_ONCE:
            raise TooMany(f"{AT_ONCE} recordings run already: try again when one has ended")
        now = self._now()
        fresh = [last for last in self._last.values() if 0 <= now - last.t <= FRESH]
        origin = min([now, *(last.t for last in fresh)])
        recording = Recording(self._host, Nanoseconds(origin), Nanoseconds(now + time), queued=self._queued)
        for last in sorted(fresh, key=lambda last: last.t):
            recording.sample(last)
        for known in self._open.values():
            recording.open(known.opened, is_answered=known.is_answered)
        name = secrets.token_hex(8)
        self._recordings[name] = recording
        return name, recording

    def poll(self, recording: Recording) -> None:
        """End a recording whose time is over."""
        now = self._now()
        if now >= recording.until + LATE:
            recording.finish(Reason.DONE, now)

    def end(self, name: str) -> bool:
        """End a recording early; return whether there is one of this name."""
        recording = self._recordings.get(name)
        if recording is None:
            return False
        recording.finish(Reason.STOPPED, self._now())
        return True

    def release(self, name: str) -> None:
        """Forget a recording that nobody reads any more."""
        self._recordings.pop(name, None)

    # --- ports.Attributor

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Accept one reading."""
        try:
            self._attributor.sample(sample)
        finally:
            if isinstance(sample, EnergySample):
                self._last[sample.device] = sample
            self._tell(lambda recording: recording.sample(sample))

    def load(self, load: DeviceLoad) -> None:
        """Accept a report on processes."""
        try:
            self._attributor.load(load)
        finally:
            self._tell(lambda recording: recording.load(load))

    def event(self, event: SpanEvent) -> None:
        """Accept one span event."""
        try:
            self._attributor.event(event)
        finally:
            self._note(event)
            if self._recordings:  # at thousands of events a second, even a closure that nobody calls costs
                self._tell(lambda recording: recording.event(event))

    def advance(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        """Settle what is due at ``now``."""
        return self._attributor.advance(now)

    def drain(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        """Settle everything, and end all recordings."""
        try:
            return self._attributor.drain(now)
        finally:
            self._tell(lambda recording: recording.finish(Reason.METER_STOPPED, now))

    def assign(self, upstream: str, setup: UpstreamSetup) -> None:
        """Learn or change what is known of an upstream."""
        self._upstreams[upstream] = setup
        self._attributor.assign(upstream, setup)

    def health(self, device: DeviceId) -> DeviceHealth:
        """Return what was found out about a device's readings."""
        return self._attributor.health(device)

    # ---

    def _note(self, event: SpanEvent) -> None:
        if isinstance(event, SpanOpened):
            self._open.setdefault(event.id, _RecordedRequest(event))
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        elif isinstance(event, SpanClosed):
            self._open.pop(event.id, None)
        elif isinstance(event, SpanFirstByte) and (known := self._open.get(event.id)):
            known.is_answered = True

    def _tell(self, step: Callable[[Recording], None]) -> None:
        """Accept a step in every recording; a fault ends that recording and nothing else."""
        for recording in self._recordings.values():
            try:
                step(recording)
            except Exception:
                self._log.exception("recording.failed")
                recording.fail()

    def _idle_watts(self) -> float | None:
        known = [self._attributor.health(device.id).idle_power for device in self._host.devices]
        powers = [power for power in known if power is not None]
        return round(watts(Microwatts(sum(powers))), 3) if len(powers) == len(known) else None
