"""The NVML source, through the real binding and a library in C that does what a test says."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pynvml
import pytest

from joulegate.errors import SourceUnavailable
from joulegate.model import DeviceId, Tier
from joulegate.sources.nvml import REOPEN_PAUSE, Plugin
from joulegate.testing.nvml import PROFILES, Call, Control, Gpu, build
from joulegate.units import Nanoseconds

A, B = DeviceId("GPU-a"), DeviceId("GPU-b")
CODES = [*range(1, 31), 999]
READING = [Call.ENERGY, Call.POWER, Call.FIELDS, Call.FIELD_INSTANT]
FINDING = [Call.INIT, Call.COUNT, Call.HANDLE, Call.UUID, Call.NAME, Call.POWER_LIMIT, Call.MIG, *READING]


class Clock:
    """A clock that moves when the test says."""

    def __init__(self) -> None:
        self.now = Nanoseconds(0)

    def __call__(self) -> Nanoseconds:
        return self.now

    def wait(self, time: Nanoseconds) -> None:
        self.now = Nanoseconds(self.now + time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock: Clock) -> Iterator[Plugin]:
    source = Plugin(clock=clock)
    yield source
    source.close()


def test_devices_say_what_they_are(fake: Callable[..., Control], source: Plugin) -> None:
    """A GPU has its UUID, index, name and power limit, and a counter."""
    fake(Gpu("GPU-a", limit_watts=450.0), Gpu("GPU-b"))
    first, second = source.open()
    assert (first.id, first.index, first.name) == (A, 0, "NVIDIA Fake GPU")
    assert (first.tier, first.power_limit, first.note) == (Tier.COUNTER, 450_000_000, "")
    assert (second.id, second.index) == (B, 1)


def test_a_reading_gives_counter_and_power(fake: Callable[..., Control], source: Plugin) -> None:
    """Millijoules and milliwatts of the driver come in as microjoules and microwatts."""
    control = fake(Gpu("GPU-a", watts=150.0, drawn=12.345))
    source.open()
    before, sample, after = control.counter(0), source.read(A), control.counter(0)
    assert sample.counter is not None
    assert 12_345_000 <= before <= sample.counter <= after
    assert sample.power == 150_000_000


def test_the_stamp_is_in_the_middle_of_the_call(fake: Callable[..., Control]) -> None:
    """A reading is dated half-way between just before and just after the counter was asked."""
    times = iter([Nanoseconds(100), Nanoseconds(300), Nanoseconds(900)])
    fake(Gpu("GPU-a"))
    source = Plugin(clock=lambda: next(times))
    source.open()
    assert source.read(A).t == 200
    source.close()


def test_the_instantaneous_power_is_preferred(fake: Callable[..., Control], source: Plugin) -> None:
    """Where the driver has the instantaneous field, the one-second mean is not asked for."""
    control = fake(Gpu("GPU-a", profile=PROFILES["hopper"]))
    source.open()
    asked = control.calls(Call.POWER, 0)
    source.read(A)
    assert control.calls(Call.POWER, 0) == asked


def test_a_reading_without_power_is_still_one(fake: Callable[..., Control], source: Plugin) -> None:
    """The counter is what counts: where the power fails, it is absent."""
    control = fake(Gpu("GPU-a"))
    source.open()
    for call in (Call.POWER, Call.FIELDS):
        control.error(call, pynvml.NVML_ERROR_UNKNOWN, 0)
    sample = source.read(A)
    assert sample.counter is not None
    assert sample.power is None


def test_an_old_driver_gives_its_averaged_power(fake: Callable[..., Control], source: Plugin) -> None:
    """Without the field the older call is used, and the instantaneous field is not asked for again."""
    control = fake(Gpu("GPU-a", watts=80.0, profile=PROFILES["ampere-old-driver"]))
    source.open()
    asked = control.calls(Call.FIELDS, 0)
    assert source.read(A).power is not None
    assert control.calls(Call.FIELDS, 0) == asked


def test_without_a_counter_there_is_power_only(fake: Callable[..., Control], source: Plugin) -> None:
    """A GPU whose counter is not supported is metered by its power, and its tier says so."""
    fake(Gpu("GPU-a", watts=99.0, profile=PROFILES["pascal"]))
    (device,) = source.open()
    assert device.tier is Tier.POWER
    assert "integrated" in device.note
    sample = source.read(A)
    assert sample.counter is None
    assert sample.power is not None


def test_neither_counter_nor_power_is_no_device(fake: Callable[..., Control], source: Plugin) -> None:
    """A GPU of which nothing can be read is refused with a reason."""
    control = fake(Gpu("GPU-a", profile=PROFILES["pascal"]))
    for call in (Call.POWER, Call.FIELD_INSTANT):
        control.error(call, pynvml.NVML_ERROR_NOT_SUPPORTED, 0)
    with pytest.raises(SourceUnavailable, match="neither energy nor power"):
        source.open()


def test_mig_is_said(fake: Callable[..., Control], source: Plugin) -> None:
    """With MIG the energy is that of the whole board, and the device's note says so."""
    fake(Gpu("GPU-a", mig=True))
    (device,) = source.open()
    assert "MIG is on" in device.note


def test_no_gpu_is_a_reason(fake: Callable[..., Control], source: Plugin) -> None:
    """A driver without any GPU is unavailable, not an empty success."""
    fake(Gpu("GPU-a")).order([])
    with pytest.raises(SourceUnavailable, match="knows no GPU"):
        source.open()


@pytest.mark.parametrize("code", CODES)
def test_every_error_while_reading_is_translated(
    fake: Callable[..., Control], source: Plugin, code: int
) -> None:
    """Whatever NVML answers to a reading, the source gives a sample or says that it is unavailable."""
    control = fake(Gpu("GPU-a"))
    source.open()
    for call in READING:
        control.error(call, code, 0)
        if call is Call.ENERGY:
            with pytest.raises(SourceUnavailable) as failure:
                source.read(A)
            assert failure.value.code == pynvml.nvmlExceptionClass(code).__name__
        else:
            assert source.read(A).counter is not None
        control.error(call, 0, 0)
        assert source.read(A).power is not None


@pytest.mark.parametrize("code", CODES)
def test_every_error_while_opening_is_translated(
    fake: Callable[..., Control], source: Plugin, code: int
) -> None:
    """Whatever NVML answers while the GPUs are looked for, they are found or the reason is given."""
    control = fake(Gpu("GPU-a"))
    name = pynvml.nvmlExceptionClass(code).__name__
    for call in FINDING:
        control.error(call, code)
        try:
            assert [device.id for device in source.open()] == [A]
        except SourceUnavailable as failure:
            assert failure.code == name  # noqa: PT017 - either outcome is right, never another exception
        control.error(call, 0)
        source.close()
    for call in (Call.INIT, Call.COUNT, Call.HANDLE, Call.UUID):
        control.error(call, code)
        with pytest.raises(SourceUnavailable, match=r"NVML|GPU 0"):
            source.open()
        control.error(call, 0)


def test_an_error_newer_than_the_binding(fake: Callable[..., Control], source: Plugin) -> None:
    """A code that the binding does not know is given by its number."""
    control = fake(Gpu("GPU-a"))
    source.open()
    control.error(Call.ENERGY, 77, 0)
    with pytest.raises(SourceUnavailable) as failure:
        source.read(A)
    assert failure.value.code == "NVMLError_77"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "load the NVIDIA kernel driver"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "/dev/nvidia"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "reboot"),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "install the NVIDIA driver"),
    ],
)
def test_common_errors_name_the_remedy(
    fake: Callable[..., Control], source: Plugin, code: int, remedy: str
) -> None:
    """A person learns what to do."""
    fake(Gpu("GPU-a")).error(Call.INIT, code)
    with pytest.raises(SourceUnavailable, match=remedy):
        source.open()


def test_one_sick_gpu_of_two(fake: Callable[..., Control], source: Plugin) -> None:
    """A GPU that does not answer is left out, and the other one works and says so."""
    fake(Gpu("GPU-a"), Gpu("GPU-b")).lose(0)
    (device,) = source.open()
    assert device.id == B
    assert "not metered: GPU 0" in device.note
    assert source.read(B).counter is not None


def test_a_lost_gpu_does_not_touch_the_other(
    fake: Callable[..., Control], source: Plugin, clock: Clock
) -> None:
    """While one GPU is lost the library is not started again, for that would disturb the other."""
    control = fake(Gpu("GPU-a"), Gpu("GPU-b"))
    source.open()
    control.lose(0)
    for _ in range(3):
        clock.wait(REOPEN_PAUSE)
        with pytest.raises(SourceUnavailable) as failure:
            source.read(A)
        assert failure.value.code == "NVMLError_GpuIsLost"
        assert source.read(B).counter is not None
    assert control.calls(Call.INIT) == 1
    control.bring_back(0)
    assert source.read(A).counter is not None


def test_when_all_are_lost_the_library_is_started_again(
    fake: Callable[..., Control], source: Plugin, clock: Clock
) -> None:
    """A driver that went away and came back is found again, with its GPUs in another order."""
    control = fake(Gpu("GPU-a", watts=0, drawn=1.0), Gpu("GPU-b", watts=0, drawn=2.0))
    source.open()
    control.lose(0)
    control.lose(1)
    control.error(Call.INIT, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    for device in (A, B, A):
        with pytest.raises(SourceUnavailable):
            source.read(device)
    with pytest.raises(SourceUnavailable) as failure:
        source.read(B)
    assert failure.value.code in ("NVMLError_DriverNotLoaded", "NVMLError_GpuIsLost")
    control.error(Call.INIT, 0)
    control.order([1, 0])
    control.bring_back(0)
    control.bring_back(1)
    clock.wait(REOPEN_PAUSE)
    assert source.read(A).counter == 1_000_000
    assert source.read(B).counter == 2_000_000


def test_the_library_is_not_started_more_than_once_a_second(
    fake: Callable[..., Control], source: Plugin, clock: Clock
) -> None:
    """Starting NVML takes the driver's lock: it is tried with pauses."""
    control = fake(Gpu("GPU-a"))
    source.open()
    clock.wait(REOPEN_PAUSE)
    control.lose(0)
    for _ in range(10):
        with pytest.raises(SourceUnavailable):
            source.read(A)
    assert control.calls(Call.INIT) == 2
    clock.wait(REOPEN_PAUSE)
    with pytest.raises(SourceUnavailable):
        source.read(A)
    assert control.calls(Call.INIT) == 3


def test_a_reset_is_passed_on(fake: Callable[..., Control], source: Plugin) -> None:
    """The source gives the counter as it is; a smaller value than before means that it restarted."""
    control = fake(Gpu("GPU-a", watts=0, drawn=50.0))
    source.open()
    assert source.read(A).counter == 50_000_000
    control.reset(0)
    assert source.read(A).counter == 0


def test_a_call_that_hangs_does_not_block_the_other_gpu(fake: Callable[..., Control], source: Plugin) -> None:
    """Two GPUs are read at once: one that hangs lets the other be read."""
    control = fake(Gpu("GPU-a"), Gpu("GPU-b"))
    source.open()
    control.hang(Call.ENERGY, 0)
    stuck = threading.Thread(target=source.read, args=(A,), daemon=True)
    stuck.start()
    began = time.monotonic()
    assert source.read(B).counter is not None
    assert time.monotonic() - began < 1.0
    assert stuck.is_alive()
    control.release()
    stuck.join(5)
    assert not stuck.is_alive()


def test_processes_lead_to_gpus(fake: Callable[..., Control], source: Plugin) -> None:
    """A process is found on the GPUs on which it computes; unknown ones on none."""
    control = fake(Gpu("GPU-a"), Gpu("GPU-b"))
    source.open()
    control.processes(0, [100, 101])
    control.processes(1, [101])
    assert list(source.devices_of([101])) == [A, B]
    assert list(source.devices_of([100, 5])) == [A]
    assert list(source.devices_of([5])) == []
    control.error(Call.PROCESSES, pynvml.NVML_ERROR_NO_PERMISSION, 0)
    assert list(source.devices_of([101])) == [B]


def test_process_lists_are_never_asked_for_while_sampling(
    fake: Callable[..., Control], source: Plugin
) -> None:
    """Process lists take the driver's lock: a reading does without."""
    control = fake(Gpu("GPU-a"))
    source.open()
    source.read(A)
    assert [control.calls(call) for call in (Call.PROCESSES, Call.GRAPHICS, Call.PROCESS_UTILIZATION)] == [
        0
    ] * 3


def test_an_unknown_device_is_unavailable(fake: Callable[..., Control], source: Plugin) -> None:
    """A device that was never found is not read."""
    fake(Gpu("GPU-a"))
    source.open()
    with pytest.raises(SourceUnavailable, match="GPU-zzz"):
        source.read(DeviceId("GPU-zzz"))


def test_cuda_visible_devices_does_not_hide_gpus_from_the_meter(
    fake: Callable[..., Control], source: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is for CUDA programs; all GPUs are metered."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    fake(Gpu("GPU-a"), Gpu("GPU-b"))
    assert [device.id for device in source.open()] == [A, B]


def test_only_reading_calls_are_made(root: Path) -> None:
    """The source never sets power, clocks or anything else on a GPU."""
    files = (root / "proxy/joulegate/sources/nvml").glob("*.py")
    text = "".join(file.read_text() for file in files)
    assert "pynvml.nvmlDeviceGet" in text
    for word in ("nvmlDeviceSet", "nvmlDeviceReset", "nvmlDeviceClear", "nvmlSystemSet"):
        assert word not in text


PROGRAM = """
from joulegate.errors import SourceUnavailable
from joulegate.sources.nvml import Plugin
source = Plugin()
try:
    devices = source.open()
    print(devices[0].tier.value, source.read(devices[0].id).counter)
except SourceUnavailable as error:
    print(error.code, error)
"""


def _output(environment: dict[str, str]) -> str:
    return subprocess.check_output(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, text=True
    )


def test_no_library(tmp_path: Path) -> None:
    """Without a usable driver library the reason and the remedy are given."""
    (tmp_path / "libnvidia-ml.so.1").touch()  # broken, so that a real one further on is not found
    output = _output({"LD_LIBRARY_PATH": str(tmp_path)})
    assert output.startswith("NVMLError_LibraryNotFound")
    assert "install the NVIDIA driver" in output


def test_an_old_library_without_the_counter(tmp_path: Path, program: Callable[[str], str]) -> None:
    """A driver from before the counter is metered by power."""
    program("cc")
    library = build(tmp_path, without=["nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetFieldValues"])
    control = Control(tmp_path / "control", [Gpu("GPU-a")])
    assert _output(control.environment(library)).split() == ["power", "None"]
