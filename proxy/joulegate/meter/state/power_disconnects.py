"""Which servers work on for clients that have left, told by the power of their devices. Pure.

For servers that do not say how many requests they work on. A device that is as busy some seconds after its
last client has left as it was then, with no request on it, works for nobody. Nothing is said where others
could be the reason: a request that came since, one still under way, or a device that was never seen at rest.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from joulegate.model import DeviceId
from joulegate.units import MICRO, NANO, Microwatts, Nanoseconds

SETTLES = Nanoseconds(5 * NANO)
"""Longer than a server's step, a power sensor's lag and a device's way back to rest together."""
WEAK = Microwatts(10 * MICRO)
"""Work that draws less above rest than this is not told from noise."""

Powers = Mapping[DeviceId, Microwatts | None]


class _Watch(Struct, frozen=True):
    left: Nanoseconds
    busy: int | None
    """Microwatts when the client had left; ``None``: not looked at yet."""


class PowerDisconnectDetector:
    """Watches the devices of each upstream."""

    def __init__(self) -> None:
        self._devices: dict[str, tuple[DeviceId, ...]] = {}
        self._rest: dict[DeviceId, Microwatts] = {}
        self._watched: dict[str, _Watch] = {}
        self._opened: dict[str, Nanoseconds] = {}

    def opened(self, upstream: str, t: Nanoseconds) -> None:
        """Notify that a request came: what its devices draw from now on is its own."""
        self._opened[upstream] = t
        for other in self._sharing(upstream):
            self._watched.pop(other, None)

    def left(self, upstream: str, t: Nanoseconds) -> None:
        """Notify that a client left and its request ended with that."""
        self._watched[upstream] = _Watch(t, None)

    def look(
        self,
        now: Nanoseconds,
        powers: Powers,
        flying: Mapping[str, int],
        devices: Mapping[str, Sequence[DeviceId]],
    ) -> list[tuple[str, bool]]:
        """Return each upstream of which something can be said now, with whether it worked on."""
        self._devices = {name: tuple(found) for name, found in devices.items()}
        said = [(name, verdict) for name in tuple(self._watched)
                if (verdict := self._verdict(name, now, powers, flying)) is not None]  # fmt: skip
        self._see_rest(now, powers, flying)
        return said

    def _verdict(self, name: str, now: Nanoseconds, powers: Powers, flying: Mapping[str, int]) -> bool | None:
        watch, power = self._watched[name], self._sum(self._devices.get(name, ()), powers)
        if watch.busy is None:
            self._watched[name] = _Watch(watch.left, power)
            return None
        if now - watch.left < SETTLES:
            return None
        del self._watched[name]
        rest = self._sum(self._devices.get(name, ()), self._rest)
        if power is None or rest is None or any(flying.get(other) for other in self._sharing(name)):
            return None
        drawn = watch.busy - rest
        return None if drawn < WEAK else 2 * (power - rest) > drawn

    def _see_rest(self, now: Nanoseconds, powers: Powers, flying: Mapping[str, int]) -> None:
        """Remember what devices draw while none of their upstreams has or lately had a request."""
        for name, devices in self._devices.items():
            others = self._sharing(name)
            late = [self._opened.get(other) for other in others]
            quiet = not any(flying.get(other) or other in self._watched for other in others)
            if quiet and all(t is None or now - t >= SETTLES for t in late):
                self._rest.update({one: power for one in devices if (power := powers.get(one)) is not None})

    def _sharing(self, upstream: str) -> list[str]:
        """Return the upstreams that have a device in common with this one, itself among them."""
        mine = set(self._devices.get(upstream, ()))
        return [name for name, devices in self._devices.items() if name == upstream or mine & set(devices)]

    def _sum(self, devices: Sequence[DeviceId], powers: Powers) -> int | None:
        found = [powers.get(one) for one in devices]
        known = [power for power in found if power is not None]
        return sum(known) if known and len(known) == len(found) else None
