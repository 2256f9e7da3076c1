"""The setup of a trace: the machine it was recorded on."""

from msgspec import Struct

from joulegate.model import Device, DeviceId, Tier, UpstreamSetup
from joulegate.replay.fields import Document, Row
from joulegate.units import MICRO, Microwatts

KINDS = ("llm", "image")


class ReplaySetup(Struct, frozen=True):
    """The machine of a trace."""

    devices: tuple[Device, ...]
    upstreams: dict[str, UpstreamSetup]
    idle_power: dict[DeviceId, Microwatts]


def device_id(index: int) -> DeviceId:
    """Return the identity of a device that a trace knows by its index."""
    return DeviceId(f"gpu-{index:04d}")


def read_setup(file: Document) -> ReplaySetup:
    """Return the machine that a setup file describes. Raises ``TraceError``."""
    count = file.integer("n_gpus")
    if not 1 <= count <= 4096:
        file.fail(f"n_gpus: expected 1 to 4096, got {count}")
    section = file.part("upstreams")
    upstreams = {name: _upstream(section.part(name), count) for name in section.names()}
    devices = tuple(
        Device(id=device_id(index), index=index, name=f"GPU {index}", source="trace", tier=Tier.COUNTER)
        for index in range(count)
    )
    idle = file.number("idle_w") if file.has("idle_w") else None
    each = {} if idle is None else {device.id: Microwatts(round(idle * MICRO / count)) for device in devices}
    return ReplaySetup(devices, upstreams, each)


def _upstream(row: Row, count: int) -> UpstreamSetup:
    kind = row.text("kind")
    if kind not in KINDS:
        row.fail(f'{row.label("kind")}: "{kind}" is not one of {", ".join(KINDS)}')
    gpus = row.integers("gpus")
    for gpu in gpus:
        if gpu >= count:
            row.fail(f"{row.label('gpus')}: gpu {gpu} is not below n_gpus {count}")
    if not gpus:
        row.fail(f"{row.label('gpus')}: names no gpu")
    devices = tuple(device_id(gpu) for gpu in dict.fromkeys(gpus))
    return UpstreamSetup(
        kind=kind, devices=devices, concurrency=max(row.integer_or("concurrency", 1) or 1, 1)
    )
