"""What is metered and what a meter reads."""

from enum import StrEnum
from typing import NewType

from msgspec import Struct

from joulegate.units import Microjoules, Microwatts, Nanoseconds

DeviceId = NewType("DeviceId", str)
"""The UUID of a GPU, or a stable name of another metered device."""


class Tier(StrEnum):
    """How good a reading is, best first."""

    COUNTER = "counter"
    """A hardware energy counter."""
    POWER = "power"
    """Power readings integrated over time."""
    ESTIMATE = "estimate"
    """Modelled from activity; never a measurement."""
    SYNTHETIC = "synthetic"
    """Made up, for trying things out."""


class Component(StrEnum):
    """The part of the machine that a device stands for."""

    GPU = "gpu"
    CPU = "cpu"
    DRAM = "dram"


class Device(Struct, frozen=True):
    """One thing with an energy account of its own."""

    id: DeviceId
    index: int
    name: str
    source: str
    tier: Tier
    component: Component = Component.GPU
    power_limit: Microwatts | None = None
    note: str = ""
    """What a person must know about the figure, for example the modelled watts per core."""


class EnergySample(Struct, frozen=True, omit_defaults=True):
    """One good reading of one device.

    ``t`` is half-way between just before and just after the call. ``counter`` is the device's cumulative
    energy: it only ever grows, and a smaller value than before means that it restarted. A device without
    a counter gives ``power`` only.
    """

    device: DeviceId
    t: Nanoseconds
    counter: Microjoules | None = None
    power: Microwatts | None = None
    sm_clock_mhz: int | None = None


class ProcessUse(Struct, frozen=True):
    """A process on a device."""

    pid: int
    percent: int
    """Of the time since the last look, or of the driver's last sample, in which any of its kernels ran."""


class DeviceLoad(Struct, frozen=True, omit_defaults=True):
    """Which processes used a device over a stretch of time: evidence of load that passes the proxy.

    Shares are per cent of that time in which any of their kernels ran, summed over processes.
    """

    device: DeviceId
    since: Nanoseconds
    t: Nanoseconds
    own: int = 0
    """Of processes that belong to an upstream."""
    foreign: int = 0


class SourceFailure(Struct, frozen=True):
    """A reading that failed."""

    device: DeviceId
    t: Nanoseconds
    code: str
    message: str = ""
