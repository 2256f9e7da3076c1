"""Made-up GPUs, for trying joulegate out on a machine that has none. Never chosen by itself.

Without a control file each GPU's power goes up and down in a fixed beat. A control file sets it at will::

    {"watts": {"0": 310.5, "1": 60}, "fail": {"1": "lost"}}
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from joulegate.clock import monotonic
from joulegate.config.quantities import duration, power
from joulegate.errors import ConfigError, SourceInvalid, SourceUnavailable
from joulegate.model import Device, DeviceId, EnergySample, Tier
from joulegate.units import MICRO, Microjoules, Microwatts, Nanoseconds, energy_over


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the source."""

    gpus: int = 1
    idle_watts: str = "60 W"
    busy_watts: str = "300 W"
    beat: str = "4 s"
    """The power is ``busy_watts`` in the second half of every beat; ``0 s`` leaves it at ``idle_watts``."""
    control: str = ""
    """A JSON file that sets watts or faults by GPU; it is read again at every reading."""


class Orders(Struct, frozen=True, forbid_unknown_fields=True):
    """The control file. GPUs that it does not name keep to the beat."""

    watts: dict[int, float] = {}
    fail: dict[int, str] = {}


class _Gpu:
    """One GPU: the energy up to its last reading, and the power since."""

    def __init__(self, device: Device, t: Nanoseconds) -> None:
        self.device = device
        self.lock = threading.Lock()
        self.t = t
        self.energy = Microjoules(0)
        self.set_power: Microwatts | None = None


class Plugin:
    """Invents the energy of some GPUs; the same times give the same energies."""

    def __init__(
        self, options: Options | None = None, *, clock: Callable[[], Nanoseconds] = monotonic
    ) -> None:
        options = options or Options()
        if not 1 <= options.gpus <= 64:
            raise ConfigError(f"energy.options.fake.gpus is {options.gpus}: 1 to 64 are allowed")
        self._count = options.gpus
        self._idle, self._busy = power(options.idle_watts), power(options.busy_watts)
        self._half = Nanoseconds(duration(options.beat) // 2)
        self._control = Path(options.control) if options.control else None
        self._clock = clock
        self._began = Nanoseconds(0)
        self._gpus: dict[DeviceId, _Gpu] = {}

    def open(self) -> Sequence[Device]:
        """Return the made-up GPUs."""
        self._began = self._clock()
        gpus = [_Gpu(_device(index), self._began) for index in range(self._count)]
        self._gpus = {gpu.device.id: gpu for gpu in gpus}
        return [gpu.device for gpu in gpus]

    def read(self, device: DeviceId) -> EnergySample:
        """Read one GPU. Raises what the control file says, or that it cannot be read."""
        gpu = self._gpus.get(device)
        if gpu is None:
            raise SourceUnavailable(f"there is no made-up GPU {device}", code="no_gpu")
        with gpu.lock:
            t = self._clock()
            gpu.energy = Microjoules(gpu.energy + self._energy(gpu, t))
            gpu.t = t
            self._obey(gpu)
            now = gpu.set_power if gpu.set_power is not None else self._beat(t)
            return EnergySample(device, t, gpu.energy, now)

    def close(self) -> None:
        """Nothing is held."""

    def _energy(self, gpu: _Gpu, t: Nanoseconds) -> int:
        if gpu.set_power is not None:
            return energy_over(gpu.set_power, Nanoseconds(t - gpu.t))
        return self._beaten(t) - self._beaten(gpu.t)

    def _beat(self, t: Nanoseconds) -> Microwatts:
        return self._busy if self._half and (t - self._began) // self._half % 2 else self._idle

    def _beaten(self, t: Nanoseconds) -> int:
        """Return the energy of the beat from its beginning to ``t``."""
        elapsed = t - self._began
        if not self._half:
            return energy_over(self._idle, Nanoseconds(elapsed))
        beats, rest = divmod(elapsed, 2 * self._half)
        busy = Nanoseconds(beats * self._half + max(rest - self._half, 0))
        return energy_over(self._busy, busy) + energy_over(self._idle, Nanoseconds(elapsed - busy))

    def _obey(self, gpu: _Gpu) -> None:
        if self._control is None:
            return
        orders = _orders(self._control)
        index = gpu.device.index
        if index in orders.fail:
            raise SourceUnavailable(f"{self._control} lets GPU {index} fail", code=orders.fail[index])
        watts = orders.watts.get(index)
        gpu.set_power = None if watts is None else Microwatts(round(watts * MICRO))


def _device(index: int) -> Device:
    name = DeviceId(f"GPU-fake-{index}")
    return Device(name, index, "made-up GPU", "fake", Tier.SYNTHETIC, note="made up: no energy was measured")


def _orders(path: Path) -> Orders:
    try:
        orders = msgspec.json.decode(path.read_bytes(), type=Orders)
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be read: {error.strerror}", code="no_control") from error
    except msgspec.DecodeError as error:
        raise SourceInvalid(f"{path}: {error}") from error
    if any(not 0 <= watts <= 1e6 for watts in orders.watts.values()):
        raise SourceInvalid(f"{path}: watts must be from 0 to 1000000")
    return orders
