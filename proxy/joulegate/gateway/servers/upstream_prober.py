"""Finds out what stands behind each upstream, and when one that was lost is back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from joulegate import clock
from joulegate.config import UpstreamConfig
from joulegate.errors import UpstreamError
from joulegate.gateway.http.call import call
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.policy.settings import Target, target_of
from joulegate.gateway.servers.fingerprints import ServerIdentity, recognise
from joulegate.model import ServerKind, UpstreamReport
from joulegate.units import NANO, Nanoseconds

FIRST, LAST = 1.0, 30.0
"""Seconds until a server that was not there, or was still loading, is asked again: doubled each time."""
PATIENCE = 10.0
"""Seconds for all questions to one server."""

_CONNECT = Nanoseconds(2 * NANO)
_FIXED = frozenset(kind.value for kind in ServerKind)


class UpstreamProber:
    """What is known of the upstreams of one gate. ``changed`` is told of each upstream whose kind is new."""

    def __init__(
        self,
        targets: Sequence[Target],
        pools: Callable[[str], Pool],
        changed: Callable[[str, str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._targets = targets
        self._pools = pools
        self._changed = changed
        self._sleep = sleep
        self._again = {target.name: asyncio.Event() for target in targets}
        self._known = {target.name: UpstreamReport(target.name, kind=target.kind) for target in targets}

    def reports(self) -> tuple[UpstreamReport, ...]:
        """Return what is known now."""
        return tuple(self._known.values())

    def note(self, upstream: str, *, up: bool) -> None:
        """Learn from the traffic whether a server is there; one that is not is looked after."""
        known = self._known[upstream]
        if known.up is not up:
            self._known[upstream] = replace(known, up=up)
            if not up:
                self._again[upstream].set()

    def note_work(self, upstream: str, *, keeps_working: bool) -> bool:
        """Learn whether a server works on for clients that have left; return whether that is news."""
        known = self._known[upstream]
        self._known[upstream] = replace(known, keeps_working=keeps_working)
        return known.keeps_working is not keeps_working

    async def run(self) -> None:
        """Look until cancelled: at the start until each server is ready, and after each loss."""
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                group.create_task(self._watch(target))

    async def _watch(self, target: Target) -> None:
        again, wait = self._again[target.name], FIRST
        while True:
            server = await look(self._pools(target.name), target.kind)
            self._take(target.name, server)
            if server and server.ready:
                again.clear()
                await again.wait()
                wait = FIRST
            else:
                await self._sleep(wait)
                wait = min(2 * wait, LAST)

    def _take(self, name: str, server: ServerIdentity | None) -> None:
        known = self._known[name]
        if server is None:
            self._known[name] = replace(known, up=False)
            return
        kind = server.kind.value if server.kind else known.kind
        version, models = server.version or known.version, server.models or known.models
        self._known[name] = replace(known, up=True, kind=kind, version=version, models=models)
        if kind != known.kind:
            self._changed(name, kind)


async def survey(upstreams: Sequence[UpstreamConfig]) -> list[ServerIdentity | None]:
    """Look at all servers at once, outside of any gate. Raises ``ConfigError`` for unreadable authorities."""
    pools = [Pool(target_of(upstream), clock.monotonic, _CONNECT) for upstream in upstreams]
    looks = (look(pool, upstream.kind) for pool, upstream in zip(pools, upstreams, strict=True))
    return list(await asyncio.gather(*looks))


async def look(pool: Pool, kind: str = "auto") -> ServerIdentity | None:
    """Return what a server is, or ``None`` if it does not answer. A ``kind`` that names one is believed."""
    try:
        if kind in _FIXED:
            (await pool.connect()).abort()
            return ServerIdentity(ServerKind(kind))
        async with asyncio.timeout(PATIENCE):
            return await recognise(lambda path: call(pool, "GET", path))
    except (UpstreamError, TimeoutError):
        return None
