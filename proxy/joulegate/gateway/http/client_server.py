"""All client connections of a gate, and what they share."""

import asyncio
from collections.abc import Callable

from joulegate.gateway.http.body import BodyTerms
from joulegate.gateway.http.client_connection import KEEP_ALIVE, READY, ClientConnection
from joulegate.gateway.http.heads import HeadCache, RequestHead, request_head
from joulegate.gateway.http.incoming import Handler
from joulegate.gateway.http.timers import Hangups
from joulegate.units import NANO, Nanoseconds

_SWEEP = Nanoseconds(5 * NANO)
"""Time between two looks for connections that have been idle for too long."""


class ClientServer:
    """What all client connections share. Called, it gives the protocol of a new one."""

    def __init__(
        self,
        handler: Handler,
        *,
        clock: Callable[[], Nanoseconds],
        malformed: Callable[[str], None],
        head_patience: Nanoseconds,
        body_terms: BodyTerms,
        hangups: Hangups,
    ) -> None:
        self.handler = handler
        self.clock = clock
        self.malformed = malformed
        self.head_patience = head_patience
        self.body_terms = body_terms
        self.hangups = hangups
        self.loop = asyncio.get_running_loop()
        self.known: HeadCache[RequestHead] = HeadCache(request_head)
        self.clients: set[ClientConnection] = set()
        self.waiting: set[ClientConnection] = set()
        """Those in the middle of a head, and those that close."""
        self._swept = Nanoseconds(0)
        self._empty = asyncio.Event()

    def __call__(self) -> ClientConnection:
        """Return the protocol of a new connection."""
        return ClientConnection(self)

    def check(self, now: Nanoseconds) -> None:
        """Look after slow heads, slow ends and idle connections."""
        for client in tuple(self.waiting):
            client.check(now)
        if now - self._swept >= _SWEEP:
            self._swept = now
            for client in [client for client in self.clients if client.state is READY]:
                if now - client.since >= KEEP_ALIVE:
                    client.end()

    def forget(self, client: ClientConnection) -> None:
        """Notify that a connection is gone."""
        self.clients.discard(client)
        self.waiting.discard(client)
        if not self.clients:
            self._empty.set()

    async def shutdown(self, patience: float) -> None:
        """Close all connections after what is written to them; reset those that take no more."""
        for client in tuple(self.clients):
            client.end()
        self._empty.clear()
        try:
            async with asyncio.timeout(patience):
                while self.clients:
                    await self._empty.wait()
        except TimeoutError:
            for client in tuple(self.clients):
                client.abort()
