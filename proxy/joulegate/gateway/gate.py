"""The gate: one process's data plane, from the listening socket to the drain."""

import asyncio
import os
from collections.abc import Mapping

from joulegate import clock
from joulegate.gateway.exchange.dispatcher import Dispatcher
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.http.body import BodyTerms
from joulegate.gateway.http.client_connection import ClientServer
from joulegate.gateway.policy.settings import GateSettings
from joulegate.log import logger
from joulegate.model import GateReport
from joulegate.ports import EventSink, InferenceProtocol
from joulegate.units import Nanoseconds, seconds

_BACKLOG = 4096
_GOODBYE = 1.0
"""Seconds that a connection gets to send what is written when the gate ends."""


class Gate:
    """Relays requests and reports on them. It knows nothing of joules or grams."""

    def __init__(
        self,
        settings: GateSettings,
        protocols: Mapping[str, InferenceProtocol],
        sink: EventSink,
        *,
        gate_id: str,
    ) -> None:
        self._settings = settings
        self._protocols = protocols
        self._sink = sink
        self._id = gate_id
        self._log = logger("gateway")
        self._desk: GateContext | None = None
        self._server: ClientServer | None = None
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Port that the gate listens on; 0 before it has started."""
        sockets = self._listener.sockets if self._listener else ()
        return int(sockets[0].getsockname()[1]) if sockets else 0

    async def start(self, host: str, port: int, *, reuse_port: bool) -> None:
        """Listen. Raises ``OSError`` if the port is taken."""
        timeouts = self._settings.timeouts
        desk = GateContext(self._settings, self._protocols, self._sink, clock.monotonic, clock.wall)
        server = ClientServer(
            Dispatcher(desk).handle,
            clock=clock.monotonic,
            malformed=desk.admission.refuse,
            head_patience=timeouts.head,
            body_terms=BodyTerms(timeouts.body, clock.monotonic, desk.watchdog),
            hangups=desk.hangups,
        )
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            server, host, port, reuse_port=reuse_port or None, backlog=_BACKLOG
        )
        self._desk, self._server = desk, server
        for pool in desk.pools.values():
            desk.watchdog.add(pool)
        desk.watchdog.add(server)
        desk.watchdog.start()
        desk.errands.run(desk.follower.run())
        self._log.info("gate.started", gate=self._id, host=host, port=self.port)

    def attend(self) -> None:
        """Begin to look after the upstreams: what they are, and whether they are there again."""
        if self._desk:
            self._desk.errands.run(self._desk.scout.run())

    async def drain(self, grace: Nanoseconds) -> None:
        """Accept no more, let running requests finish within ``grace``, then cut them, and end."""
        desk, server, listener = self._desk, self._server, self._listener
        if desk is None or server is None or listener is None:
            return
        self._log.info("gate.draining", gate=self._id, in_flight=desk.admission.total())
        desk.draining = True
        listener.close()
        try:
            async with asyncio.timeout(seconds(grace)):
                await desk.quiet()
        except TimeoutError:
            pass
        self._log.info("gate.stopped", gate=self._id, cut=len(desk.active))
        for exchange in tuple(desk.active):
            exchange.shut_down()
        await server.shutdown(_GOODBYE)
        await desk.errands.end()
        for pool in desk.pools.values():
            pool.close()
        desk.watchdog.stop()
        desk.hangups.close()
        self._desk = self._server = self._listener = None

    def report(self) -> GateReport:
        """Return the gate's own figures; the loop's lag is the longest since the last report."""
        desk = self._desk
        if desk is None:
            return GateReport(self._id, os.getpid())
        return GateReport(
            id=self._id,
            pid=os.getpid(),
            in_flight=desk.admission.in_flight(),
            parse_failures=desk.parse_failures,
            refused=desk.admission.refused(),
            loop_lag=desk.watchdog.lag(),
            upstreams=desk.scout.reports(),
        )
