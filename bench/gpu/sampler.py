"""Reads one GPU through NVML in a thread: counter, three kinds of power, and now and then the processes."""

import threading
import time
from contextlib import suppress
from typing import Any

import pynvml

PIDS_EVERY = 1_000_000_000
"""ns: process lists take the driver's lock (MangoHud issue 2104), so they are asked for once a second."""

Sample = dict[str, Any]


class Sampler:
    """Samples until closed; ``period`` may be changed while it runs."""

    def __init__(self, index: int, period: float = 0.05) -> None:
        pynvml.nvmlInit()
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        self.period = period
        self.samples: list[Sample] = []
        self._next_pids = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nvml", daemon=True)
        self._thread.start()

    def facts(self) -> dict[str, Any]:
        """Return what the report says of the GPU and its driver."""
        handle = self._handle
        found = {
            "gpu": _text(pynvml.nvmlDeviceGetName(handle)),
            "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
            "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
        }
        with suppress(pynvml.NVMLError):
            found["power_limit_w"] = pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        return found

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            due = max(due + self.period, time.monotonic())
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        before = time.monotonic_ns()
        try:
            energy = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        except pynvml.NVMLError as error:
            return {"t": before, "error": type(error).__name__}
        after = time.monotonic_ns()
        sample: Sample = {"t": (before + after) // 2, "call": after - before, "energy_mj": energy}
        with suppress(pynvml.NVMLError):
            sample["power_mw"] = int(pynvml.nvmlDeviceGetPowerUsage(self._handle))
        fields = [pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_POWER_AVERAGE]
        with suppress(pynvml.NVMLError):
            for name, value in zip(
                ("instant_mw", "average_mw"),
                pynvml.nvmlDeviceGetFieldValues(self._handle, fields),
                strict=True,
            ):
                if value.nvmlReturn == pynvml.NVML_SUCCESS:
                    sample[name] = int(value.value.uiVal)
        with suppress(pynvml.NVMLError):
            sample["sm_clock_mhz"] = int(pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_SM))
        if after >= self._next_pids:
            self._next_pids = after + PIDS_EVERY
            with suppress(pynvml.NVMLError):
                running = pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
                sample["pids"] = sorted(int(process.pid) for process in running)
        return sample


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
