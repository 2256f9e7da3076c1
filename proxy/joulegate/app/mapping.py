"""Keeps known on which devices each upstream works."""

import asyncio
from collections.abc import Callable, Sequence

from joulegate.app.energy import Energy
from joulegate.config import Config, UpstreamConfig
from joulegate.config.upstreams import addresses
from joulegate.gateway.servers.recognition import work_of
from joulegate.log import logger
from joulegate.meter.sampling.discovery import Located, locate, owned, pick
from joulegate.meter.state.meter_state import Served
from joulegate.model import DeviceId, UpstreamSetup

SOON, LATER = 5.0, 300.0
"""Seconds until the next look: process lists take the driver's lock, so they are asked for rarely."""


class Mapper:
    """Looks at start, and again now and then: servers start late, move and load other models."""

    def __init__(self, config: Config, energy: Energy) -> None:
        self._upstreams = {upstream.name: upstream for upstream in config.upstream}
        self._addresses = addresses(config)
        self._energy = energy
        self._served: dict[str, Served] = {}
        self.setups: dict[str, UpstreamSetup] = {}
        """What settlement must know of each upstream, as of the last look."""
        self._log = logger("meter")

    async def look(self) -> Sequence[Served]:
        """Find the devices of every upstream now. Raises ``ConfigError`` for a device that is not here."""
        found = [await asyncio.to_thread(self._find, upstream) for upstream in self._upstreams.values()]
        self._served = {served.name: served for served in found}
        self.setups.update((served.name, self._setup(served)) for served in found)
        return found

    async def watch(self, assign: Callable[[Served, UpstreamSetup], None]) -> None:
        """Look again for ever, and tell what changed."""
        while True:
            everything = all(served.devices for served in self._served.values())
            await asyncio.sleep(LATER if everything else SOON)
            before = self._served
            for served in await self.look():
                if served.devices != before[served.name].devices:
                    assign(served, self.setups[served.name])
                    self._log.info("upstream.mapped", upstream=served.name, devices=list(served.devices))

    def owned(self, device: DeviceId, pids: Sequence[int]) -> frozenset[int] | None:
        """Return which of the processes on a device belong to the upstreams there; ``None`` if not known."""
        there = [name for name, served in self._served.items() if device in served.devices]
        return owned([one for name in there for one in self._addresses[name]], pids)

    def _setup(self, served: Served) -> UpstreamSetup:
        return UpstreamSetup(work_of(served.kind), served.devices, self._upstreams[served.name].concurrency)

    def _find(self, upstream: UpstreamConfig) -> Served:
        located = self._located(upstream)
        return Served(
            name=upstream.name,
            url=upstream.endpoints[0].text(),
            kind=upstream.kind,
            devices=located.devices or (),
            model=upstream.model,
            note=located.how,
        )

    def _located(self, upstream: UpstreamConfig) -> Located:
        devices = self._energy.devices
        if not devices:
            return Located(None, "there is no energy source")
        if upstream.gpus != "auto":
            return Located(pick(devices, upstream.gpus), "as configured")
        return locate(upstream.name, self._addresses[upstream.name], self._energy.driver, devices)
