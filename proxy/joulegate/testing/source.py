"""An energy source that does what a test says."""

import threading
from collections.abc import Iterable, Mapping, Sequence

from joulegate.errors import JoulegateError, SourceUnavailable
from joulegate.model import Device, DeviceId, EnergySample, ProcessUse, Tier
from joulegate.units import Microjoules, Nanoseconds


def gpu(index: int = 0, *, tier: Tier = Tier.COUNTER) -> Device:
    """Return a device as a GPU source would."""
    return Device(DeviceId(f"GPU-{index}"), index, "test GPU", "scripted", tier)


class ScriptedSource:
    """Gives the readings of a script; a device without one repeats the last. Readings may fail or hang."""

    def __init__(
        self, devices: Sequence[Device] = (gpu(),), *, open_error: JoulegateError | None = None
    ) -> None:
        self._devices = devices
        self._open_error = open_error
        self._changed = threading.Condition()
        self._answers: dict[DeviceId, EnergySample | Exception] = {}
        self._hung: set[DeviceId] = set()
        self._waiting: set[DeviceId] = set()
        self._pids: dict[DeviceId, frozenset[int]] = {}
        self._uses: dict[DeviceId, list[ProcessUse]] = {}
        self.reads: dict[DeviceId, int] = {device.id: 0 for device in devices}
        """Readings that began, by device."""
        self.closed = False

    # --- the script ---

    def give(self, device: DeviceId, counter: int, t: int = 0) -> None:
        """Let readings give this counter in microjoules, stamped ``t``."""
        self._set(device, EnergySample(device, Nanoseconds(t), Microjoules(counter)))

    def fail(self, device: DeviceId, error: Exception) -> None:
        """Let readings raise this."""
        self._set(device, error)

    def hang(self, device: DeviceId) -> None:
        """Let readings hang until ``release``."""
        with self._changed:
            self._hung.add(device)

    def release(self, device: DeviceId) -> None:
        """End the hang."""
        with self._changed:
            self._hung.discard(device)
            self._changed.notify_all()

    def work(self, device: DeviceId, pids: Iterable[int]) -> None:
        """Report which processes use a device."""
        self._pids[device] = frozenset(pids)

    def use(self, device: DeviceId, uses: Mapping[int, int]) -> None:
        """Report which processes use a device, and how much of its time in per cent."""
        self._uses[device] = [ProcessUse(pid, percent) for pid, percent in uses.items()]

    def hanging(self, device: DeviceId, timeout: float = 10.0) -> bool:
        """Wait until a reading hangs; return whether one does."""
        with self._changed:
            return self._changed.wait_for(lambda: device in self._waiting, timeout)

    # --- the source ---

    def open(self) -> Sequence[Device]:
        """Return the devices, or raise what was told."""
        if self._open_error is not None:
            raise self._open_error
        return self._devices

    def read(self, device: DeviceId) -> EnergySample:
        """Return the next reading."""
        with self._changed:
            self.reads[device] += 1
            if device in self._hung:
                self._waiting.add(device)
                self._changed.notify_all()
                self._changed.wait_for(lambda: device not in self._hung)
                self._waiting.discard(device)
            answer = self._answers.get(device)
        if answer is None:
            raise SourceUnavailable(f"{device} has no script", code="no_script")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def devices_of(self, pids: Iterable[int]) -> Sequence[DeviceId]:
        """Return the devices that any of these processes uses."""
        wanted = set(pids)
        return [device for device, users in self._pids.items() if users & wanted]

    def processes(self, device: DeviceId) -> Sequence[ProcessUse]:
        """Return the processes that use a device, as told."""
        if device in self._uses:
            return self._uses[device]
        raise SourceUnavailable(f"{device} tells of no processes", code="NVMLError_NotSupported")

    def close(self) -> None:
        """Record that it was closed."""
        self.closed = True

    def _set(self, device: DeviceId, answer: EnergySample | Exception) -> None:
        with self._changed:
            self._answers[device] = answer
