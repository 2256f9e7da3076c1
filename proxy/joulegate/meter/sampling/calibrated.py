"""An energy source whose readings are corrected by a calibration."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from joulegate.meter.sampling.calibration import Calibration
from joulegate.meter.sampling.choose import Choice
from joulegate.model import Device, DeviceId, EnergySample
from joulegate.ports import EnergySource
from joulegate.units import MICRO, NANO, Microjoules, Microwatts, Nanoseconds

HORIZON = Nanoseconds(100 * 365 * 86_400 * NANO)
"""The monotonic clock is taken to stay below it: a counter with a negative offset starts that much higher,
so that it never falls below zero."""
_FLOOR = 1 * MICRO
"""Microjoules below the lowest counter, so that one that starts again can always show a smaller value."""


class _LastCorrected(Struct):
    """The last reading of a device's own counter, and what was given for it."""

    raw: int
    given: int
    taken_off: int
    """Microjoules that every later value is lowered by, so that a start again stays visible."""


class Calibrated:
    """Gives corrected readings of another source; devices without a calibration stay as they are.

    It reads and does nothing else: optional abilities are asked of the source itself.

    The corrected counter is ``gain x counter + offset x time``, rounded down to a microjoule once and never
    summed up, so it does not drift. Time is that of the host's monotonic clock, so that two meters after
    one another on one boot continue the same counter. It moves only when the device's own counter moves,
    because attribution dates energy by these edges; it never goes back but when the device's does.
    """

    def __init__(self, source: EnergySource, calibrations: Mapping[str, Calibration]) -> None:
        self._source = source
        self._calibrations = calibrations
        self._last: dict[DeviceId, _LastCorrected] = {}

    def open(self) -> Sequence[Device]:
        """Find the devices; those with a calibration say so in their note."""
        return self.noted(self._source.open())

    def noted(self, devices: Sequence[Device]) -> list[Device]:
        """Return the devices with the day of their calibration in the note."""
        return [self._noted(device) for device in devices]

    def read(self, device: DeviceId) -> EnergySample:
        """Read one device. Raises what the source raises."""
        sample = self._source.read(device)
        calibration = self._calibrations.get(device)
        if calibration is None:
            return sample
        counter = None if sample.counter is None else self._counter(sample.counter, sample.t, device)
        watts = None if sample.power is None else corrected_power(calibration, sample.power)
        return replace(sample, counter=counter, power=watts)

    def close(self) -> None:
        """Let go of the devices."""
        self._source.close()

    def _noted(self, device: Device) -> Device:
        calibration = self._calibrations.get(device.id)
        if calibration is None:
            return device
        day = f"calibrated on {calibration.date.isoformat()}"
        return replace(device, note="; ".join(filter(None, [device.note, day])))

    def _counter(self, raw: Microjoules, t: Nanoseconds, device: DeviceId) -> Microjoules:
        exact = corrected_energy(self._calibrations[device], raw, t)
        last = self._last.get(device)
        if last is None:
            self._last[device] = _LastCorrected(raw, exact, 0)
            return exact
        if raw < last.raw:
            last.taken_off = max(last.taken_off, exact - last.given + 1)
            last.given = exact - last.taken_off
        elif raw > last.raw:
            last.given = max(last.given, exact - last.taken_off)
        last.raw = raw
        return Microjoules(last.given)


def calibrated(choice: Choice, calibrations: Mapping[str, Calibration]) -> Choice:
    """Correct an open source; without calibrations it stays as it is."""
    if not calibrations:
        return choice
    source = Calibrated(choice.source, calibrations)
    return replace(choice, source=source, devices=source.noted(choice.devices))


def corrected_energy(calibration: Calibration, raw: Microjoules, t: Nanoseconds) -> Microjoules:
    """Return the corrected counter at a time, rounded down; never negative."""
    top, bottom = calibration.gain.as_integer_ratio()
    time = t if calibration.offset >= 0 else t - HORIZON
    return Microjoules(_FLOOR + (top * raw * NANO + calibration.offset * time * bottom) // (bottom * NANO))


def corrected_power(calibration: Calibration, raw: Microwatts) -> Microwatts:
    """Return the corrected power, rounded down; never negative."""
    top, bottom = calibration.gain.as_integer_ratio()
    return Microwatts(max(top * raw // bottom + calibration.offset, 0))
