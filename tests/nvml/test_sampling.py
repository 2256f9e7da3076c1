"""Sampler, source, binding and library together."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pynvml
import pytest

from joulegate.errors import SourceUnavailable
from joulegate.meter.sampling.choose import choose
from joulegate.meter.sampling.sampler import Sampler
from joulegate.model import Device, DeviceId, EnergySample, SourceFailure
from joulegate.ports.plugins import Context
from joulegate.sources.nvml import Plugin
from joulegate.testing.nvml import Call, Control, Gpu
from joulegate.units import Nanoseconds

A, B = DeviceId("GPU-a"), DeviceId("GPU-b")
MS = 1_000_000
Reading = EnergySample | SourceFailure


class Inbox:
    """What the sampler delivered; a test waits for what it expects."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readings: dict[DeviceId, list[Reading]] = {A: [], B: []}

    def __call__(self, reading: Reading) -> None:
        with self._changed:
            self._readings[reading.device].append(reading)
            self._changed.notify_all()

    def wait(self, device: DeviceId, wanted: Callable[[Reading], bool]) -> Reading:
        """Give the next reading that is wanted."""
        with self._changed:
            seen = len(self._readings[device])

            def found() -> Sequence[Reading]:
                return [reading for reading in self._readings[device][seen:] if wanted(reading)]

            assert self._changed.wait_for(found, 10), self._readings[device][-5:]
            return found()[0]

    def codes(self, device: DeviceId) -> list[str]:
        with self._changed:
            return [reading.code for reading in self._readings[device] if isinstance(reading, SourceFailure)]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def sampling(fake: Callable[..., Control], inbox: Inbox) -> Iterator[Control]:
    """Two GPUs that are being read every 5 ms with a deadline of 50 ms."""
    control = fake(Gpu("GPU-a", watts=200.0), Gpu("GPU-b", watts=100.0))
    source = Plugin()
    devices: Sequence[Device] = source.open()
    sampler = Sampler(source, devices, inbox, period=Nanoseconds(5 * MS), deadline=Nanoseconds(50 * MS))
    sampler.start()
    yield control
    control.release()
    assert sampler.stop()
    source.close()


def _good(reading: Reading) -> bool:
    return isinstance(reading, EnergySample)


def _is(code: str) -> Callable[[Reading], bool]:
    return lambda reading: isinstance(reading, SourceFailure) and reading.code == code


def test_the_last_reading_is_the_exact_counter(sampling: Control, inbox: Inbox) -> None:
    """When a GPU comes to rest, its readings end at exactly what it drew."""
    sampling.power(0, 0.0)
    exact = sampling.counter(0)
    reading = inbox.wait(A, lambda reading: _good(reading) and reading.power == 0)  # type: ignore[union-attr]
    assert isinstance(reading, EnergySample)
    assert reading.counter == exact


def test_a_hung_driver_call_stalls_its_gpu_only(sampling: Control, inbox: Inbox) -> None:
    """While one GPU's call hangs the other is read; after it returns both are."""
    sampling.hang(Call.ENERGY, 0)
    inbox.wait(A, _is("stalled"))
    for _ in range(5):
        assert _good(inbox.wait(B, _good))
    assert inbox.codes(A) == ["stalled"]
    sampling.release()
    inbox.wait(A, _good)
    assert inbox.codes(A) == ["stalled"]
    assert inbox.codes(B) == []


def test_a_gpu_that_falls_off_the_bus_and_comes_back(sampling: Control, inbox: Inbox) -> None:
    """A lost GPU is a failure with NVML's word; when it is back its readings go on."""
    sampling.lose(0)
    inbox.wait(A, _is("NVMLError_GpuIsLost"))
    inbox.wait(B, _good)
    sampling.bring_back(0)
    inbox.wait(A, _good)
    assert inbox.codes(B) == []


def test_a_driver_that_hangs_at_its_start_is_passed_over(fake: Callable[..., Control]) -> None:
    """An initialisation that hangs does not keep joulegate from starting."""
    control = fake(Gpu("GPU-a"))
    control.hang(Call.INIT)
    with pytest.raises(SourceUnavailable, match="hangs") as failure:
        choose("nvml", {}, {}, patience=0.05)
    assert failure.value.code == "stalled"
    control.release()
    for thread in threading.enumerate():
        if thread.name == "open nvml":
            thread.join(10)


def test_the_real_source_is_chosen_first(fake: Callable[..., Control]) -> None:
    """With a GPU that answers, the automatic choice measures it."""
    fake(Gpu("GPU-a"))
    choice = choose("auto", {}, Context({"llm": (("127.0.0.1", 1),)}))
    assert (choice.name, [device.id for device in choice.devices]) == ("nvml", [A])
    choice.source.close()


def test_without_a_driver_the_reason_is_given(fake: Callable[..., Control]) -> None:
    """A driver that is not loaded is passed over with the remedy."""
    fake(Gpu("GPU-a")).error(Call.INIT, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    choice = choose("auto", {}, Context({"llm": (("127.0.0.1", 1),)}))
    assert choice.name != "nvml"
    assert "nvidia-smi" in dict(choice.passed_over)["nvml"]
