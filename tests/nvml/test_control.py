"""The fake library and its control agree on every figure, through the real ``pynvml``."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pynvml
import pytest

from joulegate.testing.nvml import PROFILES, Call, Control, Gpu
from joulegate.testing.nvml.layout import ControlFields
from joulegate.testing.nvml.library import header


@pytest.fixture
def driver(fake: Callable[..., Control]) -> Iterator[Callable[..., Control]]:
    """Gives a control, with NVML initialised."""

    def start(*gpus: Gpu) -> Control:
        control = fake(*gpus)
        pynvml.nvmlInit()
        return control

    yield start
    pynvml.nvmlShutdown()


def test_both_sides_have_one_layout(loaded: ctypes.CDLL) -> None:
    """The file that Python writes is the one that the library reads."""
    assert loaded.fake_nvml_size() == ctypes.sizeof(ControlFields)


def test_the_header_is_nvidias(library: Path) -> None:
    """The library is compiled against the header that NVIDIA publishes."""
    assert "NVML_FI_DEV_POWER_INSTANT" in header().read_text(encoding="utf-8", errors="replace")
    assert library.name == "libnvidia-ml.so.1"


@pytest.mark.parametrize("profile", PROFILES)
def test_counter_is_exact(driver: Callable[..., Control], profile: str) -> None:
    """What the library shows lies between what the control computes just before and just after."""
    control = driver(Gpu("GPU-a", watts=123.456789, profile=PROFILES[profile]))
    control.bring_back(0)
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    for watts in (0.0, 699.000001, 80.5):
        control.power(0, watts)
        before = control.counter(0)
        shown = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) * 1000
        assert before <= shown <= control.counter(0)


def test_a_gpu_without_power_stands_still_at_the_exact_sum(driver: Callable[..., Control]) -> None:
    """At 0 W the counter stays, and equals the energy drawn before in whole millijoules."""
    control = driver(Gpu("GPU-a", watts=5_000.0, drawn=0.0))
    control.power(0, 0.0)
    drawn = control.energy(0)
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    assert drawn > 0
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == drawn // 1000
    assert control.energy(0, time.monotonic_ns() + 10**12) == drawn


def test_a_schedule_is_integrated_piecewise(driver: Callable[..., Control]) -> None:
    """Energy over a schedule of steps is the sum of watts times seconds."""
    control = driver(Gpu("GPU-a", watts=0.0, drawn=0.0))
    control.schedule(0, [(10.0, 100.0), (12.0, 50.0), (14.0, 0.0)])
    assert control.energy(0, time.monotonic_ns() + 60 * 10**9) == 300_000_000


def test_more_changes_than_the_ring_holds(driver: Callable[..., Control]) -> None:
    """After thousands of changes of power the two sides still agree, and no energy is lost."""
    control = driver(Gpu("GPU-a", watts=0.0, drawn=0.0))
    control.schedule(0, [(10.0 + 0.001 * step, float(step % 2) * 200) for step in range(4001)])
    assert control.energy(0, time.monotonic_ns() + 60 * 10**9) == 400_000_000
    shown = pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByIndex(0))
    assert shown * 1000 == control.counter(0)


def test_updates_come_on_the_sensors_grid(driver: Callable[..., Control]) -> None:
    """A counter that updates every 100 ms is a staircase with steps of watts times 100 ms."""
    control = driver(Gpu("GPU-a", watts=100.0, profile=PROFILES["hopper"]))
    t = time.monotonic_ns()
    values = sorted({control.counter(0, t + step * 10**6) for step in range(1, 1000)})
    steps = {after - before for before, after in pairwise(values[1:])}
    assert len(values) in (10, 11)
    assert steps == {10_000_000}


def test_lag_shows_the_past(driver: Callable[..., Control]) -> None:
    """A sensor that lags by 50 ms shows what was true 50 ms ago."""
    control = driver(Gpu("GPU-a", watts=0.0))
    control._fields.gpu[0].lag_ns = 50_000_000
    control.schedule(0, [(1.0, 100.0)])
    t = time.monotonic_ns() + 2 * 10**9
    assert control.counter(0, t) == control.energy(0, t - 50_000_000) // 1000 * 1000
    control.power(0, 1_000_000.0)
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    before = control.counter(0)
    shown = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) * 1000
    assert before <= shown <= control.counter(0)


def test_instant_and_averaged_power_differ(driver: Callable[..., Control]) -> None:
    """On Hopper the instantaneous field sees a step that the one-second average has not reached yet."""
    control = driver(Gpu("GPU-a", watts=100.0, profile=PROFILES["hopper"]))
    control._fields.gpu[0].update_ns = 0
    control._fields.gpu[0].instant_ns = 0
    control.power(0, 700.0)
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    ids = [pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_POWER_AVERAGE]
    instant, average = [value.value.uiVal for value in pynvml.nvmlDeviceGetFieldValues(handle, ids)]
    assert instant == 700_000
    assert average < 700_000
    assert pynvml.nvmlDeviceGetPowerUsage(handle) < 700_000


def test_reset_starts_at_zero(driver: Callable[..., Control]) -> None:
    """After a reset the counter starts again, on both sides."""
    control = driver(Gpu("GPU-a", watts=0.0, drawn=5_000.0))
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 5_000_000
    control.reset(0)
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 0 == control.counter(0)


def test_a_hang_ends_when_the_test_says(driver: Callable[..., Control]) -> None:
    """A call that hangs for some time returns after it."""
    control = driver(Gpu("GPU-a"))
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    control.hang(Call.ENERGY, 0, seconds=0.03)
    began = time.monotonic()
    pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    assert time.monotonic() - began >= 0.03


def test_calls_are_counted(driver: Callable[..., Control]) -> None:
    """A test can see which calls were made."""
    control = driver(Gpu("GPU-a"), Gpu("GPU-b"))
    pynvml.nvmlDeviceGetPowerUsage(pynvml.nvmlDeviceGetHandleByIndex(1))
    assert (control.calls(Call.POWER, 0), control.calls(Call.POWER, 1), control.calls(Call.POWER)) == (
        0,
        1,
        1,
    )


def test_a_new_process_sees_the_gpus(library: Path, tmp_path: Path) -> None:
    """With the control's environment an unmodified program finds the library and its GPUs."""
    control = Control(tmp_path / "control", [Gpu("GPU-a", watts=0.0, drawn=7.0), Gpu("GPU-b")])
    program = (
        "import pynvml as n; n.nvmlInit(); h = n.nvmlDeviceGetHandleByUUID(b'GPU-a');"
        "print(n.nvmlDeviceGetCount(), n.nvmlDeviceGetTotalEnergyConsumption(h));"
        "print(n.nvmlSystemGetDriverVersion())"
    )
    environment = {**os.environ, **control.environment(library)}
    output = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert output.split() == ["2", "7000", "580.95.05"]


def test_power_follows_real_work(driver: Callable[..., Control]) -> None:
    """The energy of a GPU that follows a busy process grows with that process's CPU time."""
    control = driver(Gpu("GPU-a", watts=0.0, drawn=0.0))
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with control.follow(0, [busy.pid], idle_watts=0.0, watts_per_core=100.0, period=0.02):
            deadline = time.monotonic() + 10
            while control.energy(0) < 5_000_000 and time.monotonic() < deadline:
                os.waitid(os.P_PID, busy.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        assert control.energy(0) >= 5_000_000
    finally:
        busy.kill()
        busy.wait()
