"""Finds out what stands behind an address."""

import asyncio
from collections.abc import Sequence

from joulegate import clock
from joulegate.config import UpstreamConfig
from joulegate.errors import UpstreamError
from joulegate.gateway.http.call import call
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.servers.recognition import every, recognise
from joulegate.ports.servers import ServerIdentity
from joulegate.units import NANO, Nanoseconds

PATIENCE = 10.0
"""Seconds for all questions to one server."""

_CONNECT = Nanoseconds(2 * NANO)


async def survey(upstreams: Sequence[UpstreamConfig]) -> list[tuple[ServerIdentity | None, ...]]:
    """Look at the replicas of all upstreams at once, outside of any gate.

    Raises ``ConfigError`` for unreadable authorities.
    """
    return list(await asyncio.gather(*map(_replicas, upstreams)))


async def _replicas(upstream: UpstreamConfig) -> tuple[ServerIdentity | None, ...]:
    pools = [Pool(place, clock.monotonic, _CONNECT, upstream.ca_file) for place in upstream.endpoints]
    return tuple(await asyncio.gather(*(look(pool, upstream.kind) for pool in pools)))


async def look(pool: Pool, kind: str = "auto") -> ServerIdentity | None:
    """Return what a server is, or ``None`` if it does not answer. A ``kind`` that names one is believed."""
    try:
        named = every().get(kind)
        if named:
            (await pool.connect()).abort()
            return ServerIdentity(kind, title=named.title)
        async with asyncio.timeout(PATIENCE):
            return await recognise(lambda path: call(pool, "GET", path))
    except (UpstreamError, TimeoutError):
        return None
