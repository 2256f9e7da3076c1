"""Writes all that goes into attribution into the recordings that run.

It listens to settlement while there is a recording; one that begins takes the requests under way from their
store. Without a recording it keeps nothing and costs nothing.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence

from joulegate import clock
from joulegate.errors import JoulegateError
from joulegate.log import logger
from joulegate.meter.recording.recording import QUEUED, Host, Reason, Recording
from joulegate.meter.requests.settlement import Settlement
from joulegate.model import (
    Device,
    DeviceId,
    DeviceLoad,
    EnergySample,
    SourceFailure,
    SpanEvent,
    UpstreamSetup,
)
from joulegate.ports import DeviceHealth
from joulegate.units import NANO, Microwatts, Nanoseconds, watts

AT_ONCE = 2
"""Recordings that may run at the same time."""
FRESH = NANO
"""ns: a reading not older than this is the first of a recording, which begins with it."""
LATE = NANO
"""ns after its time that a recording waits for what gates tell late."""


class NothingToRecord(JoulegateError):
    """There is no energy source."""


class TooMany(JoulegateError):
    """As many recordings run as may: try again when one has ended."""


class Recorder:
    """Implements ``InputListener``. All methods are for the event loop of the meter.

    ``upstreams`` is read whenever a recording says where they work; ``health`` is what attribution found out
    about a device.
    """

    def __init__(
        self,
        settlement: Settlement,
        devices: Sequence[Device],
        upstreams: Mapping[str, UpstreamSetup],
        *,
        method: str,
        health: Callable[[DeviceId], DeviceHealth],
        now: Callable[[], Nanoseconds] = clock.monotonic,
        queued: int = QUEUED,
    ) -> None:
        self._settlement = settlement
        self._health = health
        self._host = Host(tuple(devices), upstreams, method, self._idle_watts)
        self._now = now
        self._queued = queued
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
        fresh = [last for last in self._settlement.last_readings.values() if 0 <= now - last.t <= FRESH]
        origin = min([now, *(last.t for last in fresh)])
        recording = Recording(self._host, Nanoseconds(origin), Nanoseconds(now + time), queued=self._queued)
        for last in sorted(fresh, key=lambda last: last.t):
            recording.sample(last)
        for request in self._settlement.requests:
            if request.opened is not None and request.closed is None:
                recording.open(request.opened, is_answered=request.first_byte is not None)
        name = secrets.token_hex(8)
        if not self._recordings:
            self._settlement.listeners.append(self)
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
        if self._recordings.pop(name, None) is not None and not self._recordings:
            self._settlement.listeners.remove(self)

    # --- InputListener

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Record one reading."""
        self._record(lambda recording: recording.sample(sample))

    def load(self, load: DeviceLoad) -> None:
        """Record a report on processes."""
        self._record(lambda recording: recording.load(load))

    def event(self, event: SpanEvent) -> None:
        """Record one span event."""
        self._record(lambda recording: recording.event(event))

    def stopped(self, now: Nanoseconds) -> None:
        """End all recordings."""
        self._record(lambda recording: recording.finish(Reason.METER_STOPPED, now))

    def _record(self, step: Callable[[Recording], None]) -> None:
        """Do one step in every recording; a fault ends that recording and nothing else."""
        for recording in self._recordings.values():
            try:
                step(recording)
            except Exception:
                self._log.exception("recording.failed")
                recording.fail()

    def _idle_watts(self) -> float | None:
        known = [self._health(device.id).idle_power for device in self._host.devices]
        powers = [power for power in known if power is not None]
        return round(watts(Microwatts(sum(powers))), 3) if len(powers) == len(known) else None
