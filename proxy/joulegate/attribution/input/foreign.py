"""What is known of foreign processes on the devices: their load does not come through the proxy.

Energy alone cannot tell it from the requests' own. A driver that samples which process runs can, once a
second or so: between two such reports, and a little around them, the nearest one holds.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from joulegate.attribution.maths.arrays import Floats
from joulegate.model import DeviceId, DeviceLoad
from joulegate.units import NANO, Nanoseconds

KEPT_REPORTS = 2_000
"""Reports of a device: at one a second more than the longest time that a window stays open."""
REPORT_REACH_S = 2.5
"""Seconds beyond a report over which it still holds: single ones are missing now and then."""
PER_CENT = 100


class Load(Struct, frozen=True):
    """Parts of each window's time in which processes used the devices; zeros where nothing was reported."""

    own: Floats
    foreign: Floats

    @classmethod
    def none(cls, windows: int) -> "Load":
        """Return no load: what holds where no source reports processes."""
        return cls(np.zeros(windows), np.zeros(windows))

    @property
    def taken(self) -> Floats:
        """Return the part of each window in which foreign processes had the devices."""
        return self.foreign / np.maximum(self.own + self.foreign, 1.0)


class ForeignLoad:
    """The reports on all devices of a host, and the load of any windows by them."""

    def __init__(self) -> None:
        self._reports: dict[DeviceId, deque[DeviceLoad]] = {}

    def add(self, load: DeviceLoad) -> None:
        """Add a report; one that is older than the newest, or of no time, changes nothing."""
        known = self._reports.setdefault(load.device, deque(maxlen=KEPT_REPORTS))
        if load.t > load.since and (not known or load.t > known[-1].t):
            known.append(load)

    def over(self, devices: Sequence[DeviceId], bounds: Floats, origin: Nanoseconds) -> Load:
        """Return the mean load of devices in consecutive windows with these bounds, in s after the origin."""
        found = Load.none(len(bounds) - 1)
        for device in devices:
            reports = self._reports.get(device)
            if reports and (bounds[0] - REPORT_REACH_S) * NANO < reports[-1].t - origin:
                own, foreign = _means(_steps(list(reports), origin), bounds)
                found = Load(found.own + own / len(devices), found.foreign + foreign / len(devices))
        return found


def _steps(reports: Sequence[DeviceLoad], origin: Nanoseconds) -> Floats:
    """Return start, end, own and foreign part of stretches of time; reports reach over small holes."""
    since = np.array([(one.since - origin) / NANO for one in reports])
    until = np.array([(one.t - origin) / NANO for one in reports])
    before = np.concatenate([[since[0] - REPORT_REACH_S], until[:-1]])
    starts = np.maximum(np.maximum(since - REPORT_REACH_S, before), before)
    own = np.array([one.own / PER_CENT for one in reports])
    foreign = np.array([one.foreign / PER_CENT for one in reports])
    until[-1] += REPORT_REACH_S
    return np.stack([starts, until, own, foreign])


def _means(steps: Floats, bounds: Floats) -> tuple[Floats, Floats]:
    starts, ends, *parts = steps
    edges = np.stack([starts, ends], axis=1).ravel()
    own, foreign = (
        np.diff(np.interp(bounds, edges, _running(part * (ends - starts)))) / np.diff(bounds)
        for part in parts
    )
    return own, foreign


def _running(seconds: Floats) -> Floats:
    """Return the sums at start and end of each stretch."""
    total = np.cumsum(seconds)
    return np.stack([total - seconds, total], axis=1).ravel()
