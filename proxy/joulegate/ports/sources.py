"""What an energy source offers."""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from joulegate.model import Device, DeviceId, EnergySample, ProcessUse


@runtime_checkable
class EnergySource(Protocol):
    """Reads the energy of the devices of this host. ``joulegate.sources.<name>.Plugin``.

    All methods are blocking and are called from a thread or process of the sampler's, never from an
    event loop; ``read`` is called for one device at a time and may be called for several at once.
    """

    def open(self) -> Sequence[Device]:
        """Find the devices. Raises ``SourceUnavailable`` with the reason and the remedy."""
        ...

    def read(self, device: DeviceId) -> EnergySample:
        """Read one device now. Raises ``SourceUnavailable`` or ``SourceInvalid``."""
        ...

    def close(self) -> None:
        """Let go of the devices; never raises."""
        ...


@runtime_checkable
class ProcessLocator(Protocol):
    """Optional ability of a source: which devices a process works on."""

    def devices_of(self, pids: Iterable[int]) -> Sequence[DeviceId]:
        """Return the devices that any of these processes uses now; empty if none or unknown."""
        ...


@runtime_checkable
class ProcessObserver(Protocol):
    """Optional ability of a source: which processes use a device, and how much of its time."""

    def processes(self, device: DeviceId) -> Sequence[ProcessUse]:
        """Return every process on a device, each once. Raises ``SourceUnavailable``.

        Called each second at most, from a thread of its own, for one device at a time: it may take the
        driver's lock, and may hang.
        """
        ...
