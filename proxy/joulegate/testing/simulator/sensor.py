"""The simulated energy sensor: what a meter that polls it would read."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Row = dict[str, object]
Energy = Callable[[float], float]
"""True joules of one device from time zero to a time."""


@dataclass(frozen=True)
class Sensor:
    """How a device's counter behaves (seconds), after the classes of arXiv 2312.02741 and NVML's notes."""

    period: float = 0.1
    """Between updates of the counter."""
    lag: float = 0.03
    """An update shows the energy of so long before."""
    poll: float = 0.05
    poll_jitter: float = 0.004
    average: float = 1.0
    """Window of the power reading."""
    noise: float = 0.0
    """Standard deviation of the energy shown at an update, in joules; it does not add up."""
    counter: bool = True
    lost: float = 0.0
    """Part of the polls that are missing."""
    gap: tuple[float, float] | None = None
    """Reads fail from the first time to the second."""
    reset: float | None = None
    """The driver restarts: the counter begins again at zero."""

    def read(self, energy: Energy, gpu: int, end: float, rng: random.Random) -> Iterator[Row]:
        """Return the rows of one device, in their order."""
        base, time = rng.randrange(10**9, 10**10), rng.uniform(0, self.poll)
        phase = rng.uniform(0, self.period)
        shown: dict[int, int] = {}
        while time < end:
            if rng.random() >= self.lost:
                row: Row = {"t": round(time, 4), "gpu": gpu}
                if self._fails(time):
                    yield row | {"error": "NVMLError_GpuIsLost"}
                else:
                    number = int((time - phase) // self.period)
                    if number not in shown:
                        shown[number] = self._counter(energy, phase + number * self.period, time, base, rng)
                    yield row | self._reading(energy, time, shown[number])
            time += max(0.001, rng.gauss(self.poll, self.poll_jitter))

    def _fails(self, time: float) -> bool:
        return self.gap is not None and self.gap[0] <= time < self.gap[1]

    def _counter(self, energy: Energy, update: float, time: float, base: int, rng: random.Random) -> int:
        start, offset = (self.reset, 0) if self.reset and time >= self.reset else (0.0, base)
        joules = energy(max(update - self.lag, start)) - energy(start)
        return offset + max(0, round(1000 * (joules + (rng.gauss(0, self.noise) if self.noise else 0.0))))

    def _reading(self, energy: Energy, time: float, counter: int) -> Row:
        since = max(time - self.average, 0.0)
        watts = (energy(time) - energy(since)) / max(time - since, 1e-3)
        reading: Row = {"power_mw": round(1000 * watts)}
        return {"energy_mj": counter} | reading if self.counter else reading
