"""Power of unused devices, learned in quiet times."""

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median

from joulegate.attribution.input.windows import Window
from joulegate.model import Component, Device, DeviceId
from joulegate.units import MICRO, NANO, Microwatts, nanoseconds

QUIET_PART = 0.02
"""Part of a window that requests may take up for it to count as quiet."""
ENOUGH_WINDOWS = 4
KEPT_WINDOWS = 200
USUAL_GPU_W = 70.0
"""An H100 with a context loaded draws 80 W, an A100 62 W."""
SHORTEST_WINDOW = nanoseconds(0.2)
"""In a shorter window the counter's steps show, not the power."""


class IdlePower:
    """Idle power of each device of a group: learned, else as given, else a usual value."""

    def __init__(self, devices: Sequence[Device], given: Mapping[DeviceId, Microwatts]) -> None:
        self._devices = devices
        self._given = {device.id: given[device.id] / MICRO for device in devices if device.id in given}
        self._quiet: dict[DeviceId, deque[float]] = {
            device.id: deque(maxlen=KEPT_WINDOWS) for device in devices
        }
        self._least: dict[DeviceId, float] = {}

    def learn(self, window: Window, busy: float) -> None:
        """Learn from a window of which this part was busy."""
        if window.end - window.start < SHORTEST_WINDOW:
            return
        for device, energy in window.energy.items():
            if window.gaps.get(device):
                continue
            power = energy * NANO / (window.end - window.start) / MICRO
            self._least[device] = min(power, self._least.get(device, power))
            if busy < QUIET_PART:
                self._quiet[device].append(power)

    def known(self, device: DeviceId) -> Microwatts | None:
        """Return the idle power of a device if it was learned or given."""
        quiet = self._quiet.get(device, ())
        if len(quiet) >= ENOUGH_WINDOWS:
            return Microwatts(round(median(quiet) * MICRO))
        given = self._given.get(device)
        return None if given is None else Microwatts(round(given * MICRO))

    @property
    def certain(self) -> bool:
        """Whether it is known for every device."""
        return all(self.known(device.id) is not None for device in self._devices)

    def group(self) -> float:
        """Return the idle power of the whole group in W, assumed where it is not known."""
        return sum(self._best(device) for device in self._devices)

    def _best(self, device: Device) -> float:
        known = self.known(device.id)
        if known is not None:
            return known / MICRO
        usual = USUAL_GPU_W if device.component is Component.GPU else 0.0
        return min(usual, self._least.get(device.id, usual))
