"""The experiment on a machine whose energy is known; its time goes by only where work says so."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

GPU = Path(__file__).parents[2] / "bench" / "gpu"
MODULES = (
    "analysis",
    "blocks",
    "engine",
    "experiment",
    "features",
    "fit",
    "on_numpy",
    "records",
    "report",
    "shapes",
    "traffic",
    "truth",
)

IDLE, CLOCKS_UP = 75.0, 45.0
TAIL = 800_000_000
"""ns that clocks stay up after the last work."""
COSTS = {
    "step": 1.1, "tok": 0.02, "kv": 6e-6, "pf": 0.012, "pfx": 4e-7,
    "istep": 0.5, "mps": 9.0, "mps2": 3.0,
}  # fmt: skip
"""What the machine really spends."""
UPDATE, LAG = 100_000_000, 30_000_000
FOREIGN_W = 250.0


@pytest.fixture(scope="session")
def gpu() -> Iterator[ModuleType]:
    """The experiment's modules; they import one another by name, as they do when it runs."""
    from importlib import import_module

    sys.path.insert(0, str(GPU))
    known = set(sys.modules)
    found = ModuleType("gpu")
    for name in MODULES:
        setattr(found, name, import_module(name))
    yield found
    sys.path.remove(str(GPU))
    for name in set(sys.modules) - known:
        if str(GPU) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


class Twin:
    """A machine with a clock of its own, a language model, a denoiser and a GPU's sensor."""

    def __init__(self, gpu: ModuleType, kv_tokens: int) -> None:
        self.gpu = gpu
        self.kv_tokens = kv_tokens
        self.now = 10**12
        self.works: list[tuple[int, int, float]] = []
        self.sensor = Sensor(self)

    def clock(self) -> int:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += max(round(seconds * 1e9), 1)

    def step(self, parts: Sequence[Any]) -> None:
        decodes = tuple((str(n), one.before + 1) for n, one in enumerate(parts) if one.new == 1)
        prefills = tuple((str(n), one.new, one.before) for n, one in enumerate(parts) if one.new > 1)
        row = self.gpu.records.language_row("", self.gpu.engine.Step(0, 0, decodes, prefills), names=False)
        time = 5e-3 + 2e-5 * row["tok"] + 1e-8 * row["kv"] + 2.5e-5 * row["pf"]
        self.work(row, self.now, time)
        self.now += round(time * 1e9)

    def work(self, row: dict[str, Any], begun: int, time: float) -> None:
        joules = sum(COSTS[name] * row.get(name, 0) for name in COSTS)
        self.works.append((begun, begun + round(time * 1e9), joules))

    def energy(self, times: np.ndarray) -> np.ndarray:
        """Give the joules drawn up to each time."""
        works = sorted(self.works)
        if not works:
            return IDLE * times / 1e9
        up = [{"t": (begun, ended + TAIL)} for begun, ended, _ in works]
        total = IDLE * times / 1e9 + CLOCKS_UP * self.gpu.features.active(up, times)
        begun, ended = (np.array([one[side] for one in works]) for side in (0, 1))
        spans, joules = ended - begun, np.array([one[2] for one in works])
        for t in range(0, len(times), 512):  # in pieces, for memory
            part = times[t : t + 512]
            near = slice(0, int(np.searchsorted(begun, part[-1], side="right")))
            past = np.clip((part[:, None] - begun[near]) / spans[near], 0, 1)
            total[t : t + 512] += past @ joules[near]
        return total


class Sensor:
    """Reads the machine at its period as the machine's time goes by; the counter moves every 100 ms."""

    def __init__(self, twin: Twin) -> None:
        self._twin, self._period, self._next = twin, 0.05, twin.now
        self._samples: list[dict[str, Any]] = []

    @property
    def period(self) -> float:
        return self._period

    @period.setter
    def period(self, period: float) -> None:
        self._catch_up()
        self._period = period

    @property
    def samples(self) -> list[dict[str, Any]]:
        self._catch_up()
        return self._samples

    def _catch_up(self) -> None:
        times = np.arange(self._next, self._twin.now, round(self._period * 1e9))
        if not len(times):
            return
        self._next = int(times[-1]) + round(self._period * 1e9)
        shown = self._twin.energy(times // UPDATE * UPDATE - LAG)
        self._samples += [
            {
                "t": int(t),
                "call": 30_000,
                "energy_mj": int(joules * 1000),
                "power_mw": 300_000,
                "instant_mw": 300_000,
            }
            for t, joules in zip(times, shown, strict=True)
        ]


class Denoiser:
    """Steps on the machine's time."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    def step(self, latent: int, batch: int) -> None:
        row = self._twin.gpu.records.image_row("", (0, 0), latent, batch)
        time = 0.01 * row["mps"] + 0.004
        self._twin.work(row, self._twin.now, time)
        self._twin.now += round(time * 1e9)


class Helper:
    """The second process: what it will do is known as soon as it is ordered."""

    pid = 4711

    def __init__(self, twin: Twin, role: str) -> None:
        self._twin, self._role = twin, role
        self._log: list[Any] = []

    def order(self, begin: int, end: int, asks: Sequence[dict[str, Any]] = ()) -> None:
        if self._role == "burn":
            self._twin.works.append((begin, end, FOREIGN_W * (end - begin) / 1e9))
            self._log = [[begin, end]]
            return
        self._log, free = [], begin
        for ask in asks:
            free, steps = max(free, begin + ask["at"]), []
            row = self._twin.gpu.records.image_row("", (0, 0), ask["latent"], 1)
            for _ in range(ask["steps"]):
                time = 0.01 * row["mps"] + 0.004
                self._twin.work(row, free, time)
                steps.append([free, free + round(time * 1e9)])
                free = steps[-1][1]
            self._log.append({**ask, "arrived": begin + ask["at"], "steps_at": steps, "ended": free})

    def result(self) -> Any:
        last = max((one["ended"] for one in self._log if isinstance(one, dict)), default=0)
        self._twin.now = max(self._twin.now, last)
        return self._log

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def bench(gpu: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Gives the experiment on such a machine; ``scale`` is the part of the full durations."""

    def make(scale: float) -> Any:
        size = gpu.shapes.FULL
        twin = Twin(gpu, 400_000)
        recorder = gpu.records.Recorder(tmp_path_factory.mktemp("run"))
        words = {"gpu": "Twin", "size": "full", "backend": "none", "driver": "0", "attention": "-"}
        recorder.facts(words | {"scale": scale, "kv_tokens": twin.kv_tokens, "group": size.group})
        parts = (size, scale, None, twin, Denoiser(twin), twin.sensor, recorder)
        return gpu.blocks.Bench(*parts, lambda role: Helper(twin, role), clock=twin.clock, pause=twin.pause)

    return make


@pytest.fixture(scope="session")
def costs() -> dict[str, float]:
    """What a unit of work costs on the machine."""
    return COSTS


@pytest.fixture(scope="session")
def foreign_w() -> float:
    """What the stranger's process draws."""
    return FOREIGN_W
