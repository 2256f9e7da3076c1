"""Which processes use a GPU. These calls take the driver's lock for milliseconds."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pynvml

from joulegate.model import ProcessUse

_NOBODY = (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND)
"""What the driver answers where no process was busy."""


class Users:
    """The users of one GPU, and up to when they are known."""

    def __init__(self) -> None:
        self._seen = 0
        """The driver's own time of the newest sample, in microseconds."""

    def look(self, handle: Any) -> Sequence[ProcessUse]:
        """Return all that compute or draw on a GPU, with their part of its SMs' time. Raises ``NVMLError``.

        Sources: ``nvmlDeviceGetComputeRunningProcesses``, ``nvmlDeviceGetGraphicsRunningProcesses``, and
        ``nvmlDeviceGetProcessUtilization``, which tells of busy processes only.
        """
        busy = self._utilization(handle)
        running = _pids(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        running |= _pids(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle)
        return [ProcessUse(pid, busy.get(pid, 0)) for pid in sorted(running | set(busy))]

    def _utilization(self, handle: Any) -> dict[int, int]:
        """Return the mean over the samples that are new since the last look, in per cent by process."""
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(handle, self._seen)
        except pynvml.NVMLError as error:
            if error.value in _NOBODY:
                return {}
            raise
        found: dict[int, list[int]] = {}
        for sample in samples:
            self._seen = max(self._seen, int(sample.timeStamp))
            found.setdefault(int(sample.pid), []).append(int(sample.smUtil))
        most = max(map(len, found.values()), default=1)
        return {pid: round(sum(values) / most) for pid, values in found.items() if pid}


def computing(handle: Any) -> set[int]:
    """Return the processes that compute on a GPU; none where the driver does not tell."""
    try:
        return _pids(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    except pynvml.NVMLError:
        return set()


def _pids(call: Callable[[Any], Iterable[Any]], handle: Any) -> set[int]:
    return {int(process.pid) for process in call(handle)}
