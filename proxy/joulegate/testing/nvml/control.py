"""The hand that drives the fake library."""

import ctypes
import mmap
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Self

import psutil
from msgspec import Struct

from joulegate.testing.nvml.layout import CALLS, GPUS, PIDS, SEGMENTS, ControlFields, GpuFields
from joulegate.testing.nvml.profiles import NOT_SUPPORTED, PROFILES, Profile
from joulegate.units import MICRO, NANO, Microjoules

FOR_EVER = 10**18
"""Nanoseconds of a hang that only the test ends."""
GPU_IS_LOST = 15


class Call(IntEnum):
    """The calls of the library, in the order of ``enum call`` in ``fake_nvml.c``."""

    INIT = 0
    SHUTDOWN = 1
    DRIVER_VERSION = 2
    COUNT = 3
    HANDLE = 4
    HANDLE_BY_UUID = 5
    UUID = 6
    NAME = 7
    ENERGY = 8
    POWER = 9
    POWER_LIMIT = 10
    FIELDS = 11
    FIELD_INSTANT = 12
    FIELD_AVERAGE = 13
    FIELD_ENERGY = 14
    MIG = 15
    PROCESSES = 16
    UTILIZATION = 17
    CLOCK = 18
    GRAPHICS = 19
    PROCESS_UTILIZATION = 20


class Gpu(Struct, frozen=True):
    """How a GPU starts."""

    uuid: str
    watts: float = 60.0
    profile: Profile = PROFILES["exact"]
    drawn: float = 1_000.0
    """Joules on the counter at the start."""
    limit_watts: float = 700.0
    mig: bool = False


class Control:
    """The control file of one fake library: at most 16 GPUs, numbered as given.

    All times are seconds from now, or nanoseconds of the monotonic clock where ``t`` says so. It may be
    used from several threads; every change is seen by all readers at once.
    """

    def __init__(self, path: Path, gpus: Sequence[Gpu], *, driver: str = "580.95.05") -> None:
        if len(gpus) > GPUS:
            raise ValueError(f"the fake library has room for {GPUS} GPUs, not {len(gpus)}")
        self.path = path
        self._lock = threading.Lock()
        path.write_bytes(bytes(ctypes.sizeof(ControlFields)))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._fields = ControlFields.from_buffer(self._memory)
        self._fields.driver = driver.encode()
        self._fields.order[:] = list(range(GPUS))
        for slot, gpu in enumerate(gpus):
            self._start(slot, gpu)
        self._fields.count = len(gpus)

    # --- for the program under test ---

    def environment(self, library: Path) -> dict[str, str]:
        """Return the variables with which a new process sees these GPUs."""
        return {"LD_LIBRARY_PATH": str(library.parent), "JOULEGATE_FAKE_NVML": str(self.path)}

    @contextmanager
    def enter(self, loaded: ctypes.CDLL) -> Iterator[Self]:
        """Let this process see these GPUs until the block ends; afterwards it sees no driver."""
        if loaded.fake_nvml_open(str(self.path).encode()) != 0:
            raise OSError(f"the fake library cannot open {self.path}")
        try:
            yield self
        finally:
            self.release()
            loaded.fake_nvml_open(None)

    # --- energy ---

    def power(self, gpu: int, watts: float) -> None:
        """Let a GPU draw this from now on."""
        self.schedule(gpu, [(0.0, watts)])

    def schedule(self, gpu: int, steps: Iterable[tuple[float, float]]) -> None:
        """Let a GPU draw watts from some seconds from now on; steps in order of time."""
        now = time.monotonic_ns()
        with self._lock:
            for after, watts in steps:
                self._append(self._fields.gpu[gpu], now + round(after * NANO), round(watts * MICRO))

    def energy(self, gpu: int, t: int | None = None) -> Microjoules:
        """Return the energy truly drawn until now, or until ``t``, rounded down."""
        return Microjoules(_energy_nj(self._fields.gpu[gpu], time.monotonic_ns() if t is None else t) // 1000)

    def counter(self, gpu: int, t: int | None = None) -> Microjoules:
        """Return exactly what the counter shows now, or at ``t``: whole millijoules with gain and lag."""
        fields = self._fields.gpu[gpu]
        shown = _shown_ns(fields, time.monotonic_ns() if t is None else t)
        energy = max(_energy_nj(fields, shown) - fields.reset_nj, 0)
        return Microjoules(energy * fields.gain_ppm // MICRO // MICRO * 1000)

    def reset(self, gpu: int) -> None:
        """Let the counter start again at zero, as after a reload of the driver."""
        fields = self._fields.gpu[gpu]
        fields.reset_nj = _energy_nj(fields, time.monotonic_ns())

    @contextmanager
    def follow(
        self, gpu: int, pids: Iterable[int], *, idle_watts: float, watts_per_core: float, period: float = 0.05
    ) -> Iterator[None]:
        """Let the power follow the CPU time of processes and their children until the block ends."""
        stop = threading.Event()
        load = _Load([psutil.Process(pid) for pid in pids])

        def update() -> None:
            while not stop.wait(period):
                self.power(gpu, idle_watts + watts_per_core * load.busy_cores())

        self.power(gpu, idle_watts)
        thread = threading.Thread(target=update, name=f"fake-gpu-{gpu}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.power(gpu, idle_watts)

    # --- faults ---

    def error(self, call: Call, code: int, gpu: int | None = None) -> None:
        """Let a call fail with an NVML code (0 heals it), for one GPU or for all."""
        self._at(gpu).error[call] = code

    def hang(self, call: Call, gpu: int | None = None, *, seconds: float | None = None) -> None:
        """Let a call hang for some seconds, or until ``release``."""
        self._at(gpu).hang_ns[call] = FOR_EVER if seconds is None else round(seconds * NANO)

    def release(self) -> None:
        """End every hang, also of calls that hang now."""
        for fields in [self._fields, *self._fields.gpu]:
            fields.hang_ns[:] = [0] * CALLS

    def lose(self, gpu: int, code: int = GPU_IS_LOST) -> None:
        """Let every call to a GPU fail."""
        self._fields.gpu[gpu].error[:] = [code] * CALLS

    def bring_back(self, gpu: int) -> None:
        """Let every call to a GPU work, whatever its profile says."""
        self._fields.gpu[gpu].error[:] = [0] * CALLS

    def order(self, gpus: Sequence[int]) -> None:
        """Put these GPUs, in this order, on indices 0, 1, …; the others are gone."""
        self._fields.order[: len(gpus)] = list(gpus)
        self._fields.count = len(gpus)

    def processes(self, gpu: int, pids: Sequence[int], *, percent: Sequence[int] = ()) -> None:
        """Report what processes compute on a GPU, at most 64, and in which part of its time; else in none."""
        if len(pids) > PIDS:
            raise ValueError(f"the fake library has room for {PIDS} processes, not {len(pids)}")
        fields = self._fields.gpu[gpu]
        fields.pids[: len(pids)] = list(pids)
        fields.sm_percent[:] = [*percent, *[0] * (PIDS - len(percent))]
        fields.pid_count = len(pids)

    def calls(self, call: Call, gpu: int | None = None) -> int:
        """Return how often a call was made, for one GPU or in all."""
        return int(self._at(gpu).calls[call])

    # --- inside ---

    def _at(self, gpu: int | None) -> ControlFields | GpuFields:
        return self._fields if gpu is None else self._fields.gpu[gpu]

    def _start(self, slot: int, gpu: Gpu) -> None:
        fields, profile = self._fields.gpu[slot], gpu.profile
        fields.uuid, fields.name = gpu.uuid.encode(), profile.name.encode()
        fields.mig, fields.power_limit_mw = int(gpu.mig), round(gpu.limit_watts * 1000)
        fields.clock_mhz, fields.gain_ppm = 1410, profile.gain_ppm
        fields.update_ns, fields.lag_ns = profile.update, profile.lag
        fields.instant_ns, fields.average_ns = profile.instant, profile.average
        fields.usage_is_average = int(profile.usage_is_average)
        fields.error[Call.ENERGY] = fields.error[Call.FIELD_ENERGY] = _code(profile.has_counter)
        fields.error[Call.FIELD_INSTANT] = _code(profile.has_fields)
        fields.error[Call.FIELD_AVERAGE] = _code(profile.has_fields and profile.has_average)
        fields.phase_ns = time.monotonic_ns() - slot * profile.update // (GPUS + 1)
        self._append(fields, time.monotonic_ns(), round(gpu.watts * MICRO), drawn_nj=round(gpu.drawn * NANO))

    def _append(
        self, fields: GpuFields, start_ns: int, power_uw: int, *, drawn_nj: int | None = None
    ) -> None:
        segment = fields.segment[fields.segments % SEGMENTS]
        energy_nj = _energy_nj(fields, start_ns) if drawn_nj is None else drawn_nj
        segment.start_ns, segment.energy_nj, segment.power_uw = start_ns, energy_nj, power_uw
        fields.segments += 1  # the library looks only at segments that are counted


class _Load:
    """CPU use of process trees between two looks, in busy cores."""

    def __init__(self, roots: Sequence[psutil.Process]) -> None:
        self._roots = roots
        self._seen: dict[psutil.Process, float] = {}
        self._last = time.monotonic()
        self._seconds()

    def busy_cores(self) -> float:
        now = time.monotonic()
        seconds, elapsed, self._last = self._seconds(), now - self._last, now
        return seconds / elapsed if elapsed > 0 else 0.0

    def _seconds(self) -> float:
        total = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            used = times.user + times.system
            total += used - self._seen.get(process, 0.0)
            self._seen[process] = used
        return total

    def _processes(self) -> Iterator[psutil.Process]:
        for root in self._roots:
            try:
                yield from [root, *root.children(recursive=True)]
            except psutil.Error:
                continue


def _code(supported: bool) -> int:
    return 0 if supported else NOT_SUPPORTED


# The three functions below are those of fake_nvml.c, digit for digit.


def _energy_nj(fields: GpuFields, t: int) -> int:
    count = fields.segments
    oldest = count - SEGMENTS + 1 if count >= SEGMENTS else 0
    at = count - 1
    while at > oldest and fields.segment[at % SEGMENTS].start_ns > t:
        at -= 1
    segment = fields.segment[at % SEGMENTS]
    return int(segment.energy_nj + segment.power_uw * max(t - segment.start_ns, 0) // MICRO)


def _shown_ns(fields: GpuFields, t: int) -> int:
    if fields.update_ns > 0:
        t -= (t - fields.phase_ns) % fields.update_ns
    return t - int(fields.lag_ns)
