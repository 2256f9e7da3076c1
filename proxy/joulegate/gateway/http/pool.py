"""Kept connections to one server. There is no bound on open ones: admission is the only bound."""

import asyncio
import socket
from typing import Any, Protocol

from aiohappyeyeballs import start_connection

from joulegate import tls as trust
from joulegate.config.addresses import Endpoint
from joulegate.errors import UpstreamError
from joulegate.gateway.http.heads import HeadCache, ResponseHead, response_head
from joulegate.gateway.http.upstream_connection import Clock, UpstreamConnection
from joulegate.model import Outcome
from joulegate.units import NANO, Nanoseconds, seconds

KEPT = 256
"""Idle connections to one server."""
IDLE = Nanoseconds(4 * NANO)
"""Shorter than the shortest common keep-alive of servers, the 5 s of uvicorn and Node.js, so that a kept
connection is seldom closed under a request."""

AGE = Nanoseconds(300 * NANO)
"""A connection is not used again after that, so that a name that leads elsewhere now is followed."""
NEXT_ADDRESS = 0.25
"""Seconds until the next address of a name is tried beside the one before: RFC 8305, section 8."""


class Resolve(Protocol):
    """Looks up the addresses of a name, as ``loop.getaddrinfo`` does."""

    async def __call__(self, host: str, port: int, *, type: int) -> list[Any]:  # noqa: A002 (asyncio's name)
        """Return what ``socket.getaddrinfo`` does. Raises ``OSError``."""
        ...


class Pool:
    """Opens connections to one server and keeps idle ones for a short time.

    ``resolve`` looks names up, in place of the loop's ``getaddrinfo``. Raises ``ConfigError`` if the
    authorities of ``ca_file`` cannot be read.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        connect_timeout: Nanoseconds,
        ca_file: str | None = None,
        *,
        resolve: Resolve | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._resolve = resolve
        self._clock = clock
        self.connect_timeout = connect_timeout
        self.known: HeadCache[ResponseHead] = HeadCache(response_head)
        self._idle: list[UpstreamConnection] = []
        self._tls = trust.context(ca_file) if endpoint.scheme == "https" else None
        self._closed = False
        self.host = endpoint.address().encode()
        """What the field ``Host`` says in requests of the gate's own."""

    def kept(self) -> UpstreamConnection | None:
        """Return an idle connection, the one used last, or ``None``."""
        now = self._clock()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < IDLE and now - connection.born < AGE:
                return connection
            connection.close()
        return None

    async def connect(self) -> UpstreamConnection:
        """Open a connection. Raises ``UpstreamError``."""
        loop = asyncio.get_running_loop()
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(seconds(self.connect_timeout)):
                sock, round_trip = await self._socket(loop)
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self._clock, self.known, self.keep),
                    sock=sock,
                    ssl=self._tls,
                    server_hostname=endpoint.host if self._tls else None,
                )
        except TimeoutError as error:
            raise UpstreamError(Outcome.UPSTREAM_TIMEOUT, f"no connection to {endpoint.text()}") from error
        except OSError as error:
            detail = f"{endpoint.text()}: {trust.reason(error)}"
            raise UpstreamError(Outcome.UPSTREAM_REFUSED, detail) from error
        connection.round_trip = round_trip
        return connection

    async def _socket(self, loop: asyncio.AbstractEventLoop) -> tuple[socket.socket, Nanoseconds]:
        """Return a connected socket, and how long it took; of several addresses the first that answers.

        RFC 8305: an address that does not answer at once holds the others up for a moment only.
        """
        endpoint = self._endpoint
        resolve = self._resolve or loop.getaddrinfo
        addresses = await resolve(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        began = self._clock()
        found = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS, interleave=1, loop=loop)
        return found, Nanoseconds(self._clock() - began)

    def check(self, now: Nanoseconds) -> None:
        """Close what has been idle for too long."""
        stale = [connection for connection in self._idle if now - connection.idle_since >= IDLE]
        if stale:
            self._idle = [connection for connection in self._idle if connection not in stale]
        for connection in stale:
            connection.close()

    def close(self) -> None:
        """Close all idle connections and keep no more."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def keep(self, connection: UpstreamConnection) -> None:
        """Accept a connection that can be used again."""
        if self._closed or len(self._idle) >= KEPT:
            connection.close()
        else:
            self._idle.append(connection)
