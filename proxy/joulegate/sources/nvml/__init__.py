"""Energy of NVIDIA GPUs from the driver's own library.

Boards are known by UUID: indices may change when a driver is reloaded. NVML stays initialised from
``open`` to ``close``, because without persistence mode the driver unloads with its last client and the
counter starts again. Only reading calls are made: never one that sets power, clocks or anything else.
``CUDA_VISIBLE_DEVICES`` does not concern NVML: it is a wish of a CUDA program, not of its meter.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pynvml
from msgspec.structs import replace

from joulegate.clock import monotonic
from joulegate.errors import SourceUnavailable
from joulegate.model import Device, DeviceId, EnergySample, ProcessUse, Tier
from joulegate.sources.nvml.users import Users, computing
from joulegate.units import NANO, Microjoules, Microwatts, Nanoseconds

UJ_PER_MJ = 1_000
UW_PER_MW = 1_000
REOPEN_PAUSE = Nanoseconds(1 * NANO)
"""Least time between two attempts to start the library again: a start takes the driver's lock."""

REMEDIES = {
    "LibraryNotFound": "install the NVIDIA driver, or start the container with `--gpus all`",
    "DriverNotLoaded": "load the NVIDIA kernel driver: `nvidia-smi` must work on this host",
    "NoPermission": "let this user read /dev/nvidiactl and /dev/nvidia*, for example by the group video",
    "LibRmVersionMismatch": "the driver was updated under way: reboot, or reload the nvidia kernel modules",
    "GpuIsLost": "the GPU fell off the bus: see `dmesg | grep -i xid`; a reboot usually brings it back",
    "ResetRequired": "the GPU wants a reset: stop its users, then `nvidia-smi --gpu-reset`",
    "FunctionNotFound": "the driver is too old for this call: update it",
}
"""What a person can do, by error."""

_ABSENT = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
_GONE = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
)
"""Errors after which the handle is worth nothing."""


class _Board:
    """One GPU; its handle is ``None`` from the moment it was lost until it is found again."""

    def __init__(self, handle: Any, device: Device, *, instant: bool) -> None:
        self.handle = handle
        self.device = device
        self.instant = instant
        self.loss: SourceUnavailable | None = None
        self.users = Users()


class Plugin:
    """Reads the energy counter and the power of every NVIDIA GPU of this host."""

    order = 10

    def __init__(self, *, clock: Callable[[], Nanoseconds] = monotonic) -> None:
        self._clock = clock
        self._boards: dict[DeviceId, _Board] = {}
        self._opening = threading.Lock()
        self._started = False
        self._next_start = Nanoseconds(0)

    def open(self) -> Sequence[Device]:
        """Find the GPUs. Raises ``SourceUnavailable`` with NVML's reason and the remedy.

        A GPU that does not answer is left out, and the note of every other one says so.
        """
        with self._opening:
            self._start()
            boards, sick = _find()
            if not boards:
                self._shut()
                raise sick[0] if sick else SourceUnavailable("the NVIDIA driver knows no GPU", code="no_gpu")
            self._boards = {board.device.id: board for board in boards}
        return [board.device for board in boards]

    def read(self, device: DeviceId) -> EnergySample:
        """Read one GPU: the counter in microjoules since the driver was loaded, and the power.

        Sources: ``nvmlDeviceGetTotalEnergyConsumption`` (whole millijoules, Volta and newer),
        ``NVML_FI_DEV_POWER_INSTANT``, else ``nvmlDeviceGetPowerUsage`` (a mean over 1 s on most GPUs from
        Ampere on). A GPU without a counter gives power only.
        """
        board = self._boards.get(device)
        if board is None:
            raise SourceUnavailable(f"there is no GPU {device}", code="no_gpu")
        if board.loss is not None:
            self._recover(board, board.loss)
        try:
            return self._sample(board)
        except pynvml.NVMLError as error:
            failure = _unavailable(error, f"GPU {board.device.index} ({device})")
            if error.value in _GONE:
                board.loss = failure
            raise failure from error

    def devices_of(self, pids: Iterable[int]) -> Sequence[DeviceId]:
        """Return the GPUs on which any of these processes computes now.

        Asks for process lists, which take the driver's lock for milliseconds: not for a sampling path.
        """
        wanted = set(pids)
        return [device for device, board in self._boards.items() if wanted & computing(board.handle)]

    def processes(self, device: DeviceId) -> Sequence[ProcessUse]:
        """Return the processes on a GPU, with their part of its SMs' time. Takes the driver's lock."""
        board = self._boards.get(device)
        if board is None or board.loss is not None:
            raise SourceUnavailable(f"there is no GPU {device} now", code="no_gpu")
        with _translated(f"processes of GPU {board.device.index} ({device})"):
            return board.users.look(board.handle)

    def close(self) -> None:
        """Let go of the library."""
        with self._opening:
            self._boards = {}
            self._shut()

    # --- reading ---

    def _sample(self, board: _Board) -> EnergySample:
        before = self._clock()
        if board.device.tier is Tier.POWER:
            power: Microwatts | None = _power(board)
            return EnergySample(board.device.id, _middle(before, self._clock()), power=power)
        counter = Microjoules(int(pynvml.nvmlDeviceGetTotalEnergyConsumption(board.handle)) * UJ_PER_MJ)
        t = _middle(before, self._clock())
        power = None
        with suppress(pynvml.NVMLError):  # the counter is what counts
            power = _power(board)
        return EnergySample(board.device.id, t, counter, power)

    # --- losing and finding again ---

    def _recover(self, board: _Board, loss: SourceUnavailable) -> None:
        """Find a lost GPU again, or raise its loss."""
        if not self._opening.acquire(blocking=False):
            raise SourceUnavailable(str(loss), code=loss.code)  # another thread is at it and may hang
        try:
            self._restart_if_all_are_lost(loss)
            with _translated(f"GPU {board.device.index} ({board.device.id})"):
                board.handle = pynvml.nvmlDeviceGetHandleByUUID(str(board.device.id).encode())
            board.loss = None
        except SourceUnavailable as failure:
            board.loss = failure
            raise
        finally:
            self._opening.release()

    def _restart_if_all_are_lost(self, loss: SourceUnavailable) -> None:
        everything = all(board.loss is not None for board in self._boards.values())
        if everything and self._clock() >= self._next_start:
            self._next_start = Nanoseconds(self._clock() + REOPEN_PAUSE)
            self._shut()
            self._start()
        if not self._started:
            raise SourceUnavailable(str(loss), code=loss.code)

    def _start(self) -> None:
        if self._started:
            return
        with _translated("NVML does not start"):
            pynvml.nvmlInit()
        self._started = True

    def _shut(self) -> None:
        if self._started:
            self._started = False
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


# --- finding ---


def _find() -> tuple[list[_Board], list[SourceUnavailable]]:
    with _translated("NVML does not count its GPUs"):
        count = int(pynvml.nvmlDeviceGetCount())
    boards, sick = [], []
    for index in range(count):
        try:
            boards.append(_board(index))
        except SourceUnavailable as failure:
            sick.append(failure)
    for board in boards:
        board.device = _noted(board.device, [*_shadow(), *(f"not metered: {failure}" for failure in sick)])
    return boards, sick


def _board(index: int) -> _Board:
    with _translated(f"GPU {index}"):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = DeviceId(str(pynvml.nvmlDeviceGetUUID(handle)))
    counter = _offers(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    instant = _offers(lambda: _instant(handle))
    if not counter and not instant and not _offers(lambda: pynvml.nvmlDeviceGetPowerUsage(handle)):
        raise SourceUnavailable(f"GPU {index} ({uuid}) gives neither energy nor power", code="no_energy")
    device = Device(
        uuid,
        index,
        _name(handle),
        "nvml",
        Tier.COUNTER if counter else Tier.POWER,
        power_limit=_power_limit(handle),
    )
    notes = [] if counter else ["no energy counter: power is integrated over time"]
    return _Board(handle, _noted(device, [*notes, *_mig_note(handle)]), instant=instant)


def _noted(device: Device, notes: Sequence[str]) -> Device:
    return replace(device, note="; ".join([*filter(None, [device.note]), *notes]))


def _offers(call: Callable[[], object]) -> bool:
    """Whether the GPU has this call; one that fails for another reason is there but sick."""
    try:
        call()
    except pynvml.NVMLError as error:
        return error.value not in _ABSENT
    return True


def _name(handle: Any) -> str:
    try:
        return str(pynvml.nvmlDeviceGetName(handle))
    except pynvml.NVMLError:
        return "NVIDIA GPU"


def _power_limit(handle: Any) -> Microwatts | None:
    try:
        return Microwatts(int(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)) * UW_PER_MW)
    except pynvml.NVMLError:
        return None


def _mig_note(handle: Any) -> list[str]:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError:
        return []
    return ["MIG is on: the energy is that of the whole board, not of an instance"] if current else []


def _shadow() -> list[str]:
    """Warn of the old distribution ``pynvml``, which brings a file of the same name as nvidia-ml-py."""
    try:
        major = int(version("pynvml").split(".")[0])
    except (PackageNotFoundError, ValueError):
        return []
    return ["an old package `pynvml` shadows nvidia-ml-py: pip uninstall pynvml"] if major < 12 else []


# --- calls ---


def _power(board: _Board) -> Microwatts:
    if board.instant:
        with suppress(pynvml.NVMLError):
            return _instant(board.handle)
    return Microwatts(int(pynvml.nvmlDeviceGetPowerUsage(board.handle)) * UW_PER_MW)


def _instant(handle: Any) -> Microwatts:
    value = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])[0]
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(value.nvmlReturn)
    return Microwatts(int(value.value.uiVal) * UW_PER_MW)


def _middle(before: Nanoseconds, after: Nanoseconds) -> Nanoseconds:
    return Nanoseconds((before + after) // 2)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except pynvml.NVMLError as error:
        raise _unavailable(error, what) from error


def _unavailable(error: Any, what: str) -> SourceUnavailable:
    code = type(error).__name__
    if code == "NVMLError":  # newer than the binding
        code = f"NVMLError_{error.value}"
    remedy = REMEDIES.get(code.removeprefix("NVMLError_"))
    return SourceUnavailable(f"{what}: {error}" + (f"; {remedy}" if remedy else ""), code=code)
