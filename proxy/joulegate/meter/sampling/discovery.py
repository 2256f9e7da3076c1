"""Finds the devices that an upstream works on: from its port to its processes to their GPUs."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from joulegate.errors import ConfigError
from joulegate.model import Component, Device, DeviceId
from joulegate.ports import EnergySource, ProcessLocator
from joulegate.processes import Serving, relatives, serving, serving_any, with_children


class Located(Struct, frozen=True):
    """The devices of an upstream and how they were found."""

    devices: tuple[DeviceId, ...] | None
    """``None`` if its devices are not of this host, or not known."""
    how: str
    """In words for a person."""


def locate(
    upstream: str,
    addresses: Sequence[tuple[str, int]],
    source: EnergySource,
    devices: Sequence[Device],
    *,
    find: Callable[[str, int], Serving] = serving,
) -> Located:
    """Find the devices of an upstream now. Blocks for tens of milliseconds; not for an event loop.

    With several replicas it works on the devices of all of them.

    A source with one device per upstream names it ``cpu:<upstream>``. Else the processes on the port and
    their children are looked for on the GPUs. A local server whose processes are on none of them or are
    hidden from this user, or whose source cannot tell, gets all devices. A server in a container has no
    process here that could be followed: ``None``, as for another host.
    """
    own = DeviceId(f"cpu:{upstream}")
    if any(device.id == own for device in devices):
        return Located((own,), "its own processes are modelled")
    found = serving_any(addresses, find)
    everything = tuple(device.id for device in devices)
    if found.hidden:
        return Located(everything, f"{found.reason or 'a process belongs to another user'}: all devices")
    if not found.pids:
        return Located(None, found.reason)
    pids = [process.pid for process in with_children(found.pids)]
    where = ", ".join(f"{host}:{port}" for host, port in addresses)
    numbers = ", ".join(map(str, found.pids[:8]))
    known = f"{where} is process {numbers}" if len(addresses) == 1 else f"{where} are processes {numbers}"
    if not isinstance(source, ProcessLocator):
        return Located(everything, f"{known}; its source cannot tell devices apart: all of them")
    used = set(source.devices_of(pids))
    if not used:
        return Located(everything, f"{known}; none of its processes is seen on a device: all of them")
    return Located(
        tuple(device for device in everything if device in used), f"{known}; its processes use them"
    )


def owned(
    addresses: Iterable[tuple[str, int]],
    pids: Iterable[int],
    *,
    find: Callable[[str, int], Serving] = serving,
) -> frozenset[int] | None:
    """Return which of the processes on a device belong to the upstreams that work there.

    ``None`` if that cannot be told: the processes of an upstream are not known, or none of them is seen on
    the device (a container may number them otherwise). Blocks for tens of milliseconds.
    """
    found: set[int] = set()
    for host, port in addresses:
        mine = relatives(find(host, port).pids, pids)
        if not mine:
            return None
        found |= mine
    return frozenset(found)


def pick(devices: Sequence[Device], wanted: Iterable[int | str]) -> tuple[DeviceId, ...]:
    """Return the devices that the user lists by index or UUID (its beginning is enough).

    Raises ``ConfigError`` that names the devices there are.
    """
    return tuple(dict.fromkeys(_one(devices, word) for word in wanted))


def _one(devices: Sequence[Device], word: int | str) -> DeviceId:
    if isinstance(word, int):
        gpus = [device for device in devices if device.component is Component.GPU] or devices
        matching = [device.id for device in gpus if device.index == word]
    else:
        matching = [device.id for device in devices if word and device.id.startswith(word)]
    if len(matching) != 1:
        there_are = ", ".join(f"{device.index} ({device.id})" for device in devices) or "none"
        problem = "is ambiguous" if matching else "is not here"
        raise ConfigError(f"device {word!r} {problem}; there are: {there_are}")
    return matching[0]
