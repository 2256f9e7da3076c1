"""Who uses a GPU, through the real binding and a library in C that does what a test says."""

from collections.abc import Callable

import pynvml
import pytest

from joulegate.errors import SourceUnavailable
from joulegate.model import DeviceId, ProcessUse
from joulegate.sources.nvml import Plugin
from joulegate.testing.nvml import Call, Control, Gpu

A, B = DeviceId("GPU-a"), DeviceId("GPU-b")


@pytest.fixture
def source() -> Plugin:
    return Plugin()


def test_processes_tell_how_much_of_a_gpu_they_use(fake: Callable[..., Control], source: Plugin) -> None:
    """Idle ones are named too; a GPU on which nobody was busy, or that cannot tell, says so."""
    control = fake(Gpu("GPU-a"), Gpu("GPU-b"))
    source.open()
    control.processes(0, [100, 101, 102], percent=[70, 0, 25])
    assert source.processes(A) == [ProcessUse(100, 70), ProcessUse(101, 0), ProcessUse(102, 25)]
    control.processes(0, [100])
    assert source.processes(A) == [ProcessUse(100, 0)]
    assert source.processes(B) == []
    control.error(Call.PROCESS_UTILIZATION, pynvml.NVML_ERROR_NOT_SUPPORTED, 0)
    with pytest.raises(SourceUnavailable) as caught:
        source.processes(A)
    assert caught.value.code == "NVMLError_NotSupported"


def test_a_gpu_that_is_not_there_has_no_processes(fake: Callable[..., Control], source: Plugin) -> None:
    """It is not asked either: a lost board may let the call hang."""
    control = fake(Gpu("GPU-a"))
    source.open()
    control.lose(0)
    with pytest.raises(SourceUnavailable):
        source.read(A)
    with pytest.raises(SourceUnavailable, match="no GPU GPU-a now"):
        source.processes(A)
    assert control.calls(Call.PROCESSES) == 0
