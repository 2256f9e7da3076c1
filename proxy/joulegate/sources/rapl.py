"""Energy of processor packages and memory from the Linux powercap tree (Intel and AMD RAPL).

Zones nest: ``core`` and ``uncore`` lie inside ``package``, ``psys`` around it. Only packages and ``dram``
are devices, so nothing is counted twice; ``intel-rapl-mmio`` shows the same packages again and is left out.
https://docs.kernel.org/power/powercap/powercap.html
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from joulegate.clock import monotonic
from joulegate.errors import SourceInvalid, SourceUnavailable
from joulegate.model import Component, Device, DeviceId, EnergySample, Tier
from joulegate.units import NANO, Microjoules, Microwatts, Nanoseconds, energy_over

MOST_POWER = Microwatts(1_000_000_000)
"""More than any package draws (1,000 W, the bound that Zeus uses too): tells a wrap from a restart."""

PERMISSION = (
    "the kernel lets only root read it (since 5.10, against side channels). Run the meter as root, or give "
    "it CAP_DAC_READ_SEARCH (systemd: AmbientCapabilities=CAP_DAC_READ_SEARCH), or "
    "`chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj` after each boot (udev, systemd-tmpfiles)"
)


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the source."""

    root: str = "/sys/class/powercap"
    """The powercap tree; in a container, where the host's is mounted."""


def open_readonly(path: Path) -> int:
    """Return a descriptor of a file."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class _Zone:
    """One counter, kept open: a read of an open file takes 0.4 us instead of 10 us."""

    def __init__(self, path: Path, device: Device, span: int, open_file: Callable[[Path], int]) -> None:
        self.device = device
        self._path = path
        self._span = span
        self._open_file = open_file
        self._file: int | None = None
        self._raw: int | None = None
        self._t = Nanoseconds(0)
        self._total = 0

    def read(self) -> int:
        """Return the raw counter in microjoules."""
        try:
            if self._file is None:
                self._file = self._open_file(self._path / "energy_uj")
            text = os.pread(self._file, 32, 0)
        except OSError as error:
            self.close()
            raise _unavailable(error, self._path / "energy_uj") from error
        try:
            return int(text)
        except ValueError:
            raise SourceInvalid(f"{self._path / 'energy_uj'} is no number: {text[:32]!r}") from None

    def unwrapped(self, raw: int, t: Nanoseconds) -> Microjoules:
        """Return the energy since the first reading; it starts again at 0 when it cannot be known.

        A step is unknown if it would take more than ``MOST_POWER``, or if the counter may have gone round
        more than once since the last reading.
        """
        if self._raw is not None:
            step = raw - self._raw if raw >= self._raw else raw - self._raw + self._span
            possible = energy_over(MOST_POWER, Nanoseconds(t - self._t + NANO))  # a second for its own update
            known = step <= possible and energy_over(MOST_POWER, Nanoseconds(t - self._t)) < self._span
            self._total = self._total + step if known else 0
        self._raw, self._t = raw, t
        return Microjoules(self._total)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Plugin:
    """Reads every processor package and its memory."""

    order = 20

    def __init__(
        self,
        options: Options | None = None,
        *,
        clock: Callable[[], Nanoseconds] = monotonic,
        open_file: Callable[[Path], int] = open_readonly,
    ) -> None:
        self._root = Path((options or Options()).root)
        self._clock = clock
        self._open_file = open_file
        self._zones: dict[DeviceId, _Zone] = {}

    def open(self) -> Sequence[Device]:
        """Find the zones. Raises ``SourceUnavailable`` if there are none or they may not be read."""
        zones = [
            _zone(path, name, index, self._open_file)
            for index, (path, name) in enumerate(_packages(self._root))
        ]
        if not zones:
            raise SourceUnavailable(
                f"{self._root} has no RAPL package: this processor has none, or the virtual machine or "
                "container does not show it (mount the host's /sys/class/powercap read-only and set "
                "energy.options.rapl.root)",
                code="no_zone",
            )
        self._zones = {zone.device.id: zone for zone in zones}
        try:
            for zone in zones:
                zone.read()
        except SourceUnavailable:
            self.close()
            raise
        return [zone.device for zone in zones]

    def read(self, device: DeviceId) -> EnergySample:
        """Read one zone: microjoules since the first reading, wraps taken out."""
        zone = self._zones.get(device)
        if zone is None:
            raise SourceUnavailable(f"there is no RAPL zone {device}", code="no_zone")
        before = self._clock()
        raw = zone.read()
        t = Nanoseconds((before + self._clock()) // 2)
        return EnergySample(device, t, zone.unwrapped(raw, t))

    def close(self) -> None:
        """Close the files."""
        for zone in self._zones.values():
            zone.close()
        self._zones = {}


def _packages(root: Path) -> Iterator[tuple[Path, str]]:
    """Return each package with its name, and each memory zone with that of its package."""
    for path in sorted(root.glob("intel-rapl:*"), key=_numbers):
        name = _text(path / "name")
        if not name.startswith("package-"):
            continue
        yield path, name
        for child in sorted(path.glob("intel-rapl:*:*"), key=_numbers):
            if _text(child / "name") == "dram":
                yield child, f"dram-{name}"


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in path.name.split(":")[1:] if number.isdigit()]


def _zone(path: Path, name: str, index: int, open_file: Callable[[Path], int]) -> _Zone:
    memory = name.startswith("dram-")
    device = Device(
        DeviceId(f"rapl:{name}"),
        index,
        f"memory of {name.removeprefix('dram-')}" if memory else f"processor {name}",
        "rapl",
        Tier.COUNTER,
        Component.DRAM if memory else Component.CPU,
    )
    span = _text(path / "max_energy_range_uj")
    if not span.isdigit() or int(span) == 0:
        raise SourceUnavailable(
            f"{path / 'max_energy_range_uj'} is no number: {span[:32]!r}", code="no_range"
        )
    return _Zone(path, device, int(span), open_file)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _unavailable(error: OSError, path: Path) -> SourceUnavailable:
    code = errno.errorcode.get(error.errno or 0, "OSError")
    remedy = PERMISSION if isinstance(error, PermissionError) else error.strerror
    return SourceUnavailable(f"{path} cannot be read: {remedy}", code=code)
