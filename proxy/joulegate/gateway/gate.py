"""The gate: one process's data plane, from the listening socket to the drain."""

import asyncio
import os
from collections.abc import Mapping

from joulegate import clock
from joulegate.gateway.exchange.dispatcher import Dispatcher
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.http.body import BodyTerms
from joulegate.gateway.http.client_connection import ClientServer
from joulegate.gateway.http.refusals import forms
from joulegate.gateway.jobs.job_poller import JobPoller
from joulegate.gateway.policy.settings import GateSettings
from joulegate.gateway.upstreams import Upstreams
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
        self._context: GateContext | None = None
        self._upstreams: Upstreams | None = None
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
        context = GateContext(self._settings, self._sink, clock.monotonic, clock.wall)
        upstreams = Upstreams(self._settings.upstreams, context, self._protocols)
        server = ClientServer(
            Dispatcher(context, upstreams, self._protocols).handle,
            clock=clock.monotonic,
            malformed=context.refuse,
            head_patience=timeouts.head,
            keep_alive=timeouts.keep_alive,
            body_terms=BodyTerms(timeouts.body, clock.monotonic, context.watchdog),
            hangups=context.hangups,
        )
        forms()  # Found now, not while a client waits for a refusal.
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            server, host, port, reuse_port=reuse_port or None, backlog=_BACKLOG
        )
        self._context, self._upstreams, self._server = context, upstreams, server
        context.watchdog.add(server)
        context.watchdog.start()
        poller = JobPoller(context.jobs, self._protocols, context.clock, context.observer_failed)
        context.tasks.run(poller.run())
        self._log.info("gate.started", gate=self._id, host=host, port=self.port)

    def attend(self) -> None:
        """Begin to look after the upstreams: what they are, and whether they are there again."""
        if self._upstreams:
            self._upstreams.attend()

    async def drain(self, grace: Nanoseconds) -> None:
        """Accept no more, let running requests finish within ``grace``, then cut them, and end."""
        context, upstreams, server, listener = self._context, self._upstreams, self._server, self._listener
        if context is None or upstreams is None or server is None or listener is None:
            return
        self._log.info("gate.draining", gate=self._id, in_flight=len(context.active))
        context.draining = True
        listener.close()
        try:
            async with asyncio.timeout(seconds(grace)):
                await context.quiet()
        except TimeoutError:
            pass
        self._log.info("gate.stopped", gate=self._id, cut=len(context.active))
        for exchange in tuple(context.active):
            exchange.shut_down()
        await server.shutdown(_GOODBYE)
        await context.tasks.end()
        upstreams.close()
        context.watchdog.stop()
        context.hangups.close()
        self._context = self._upstreams = self._server = self._listener = None

    def report(self) -> GateReport:
        """Return the gate's own figures; the loop's lag is the longest since the last report."""
        context, upstreams = self._context, self._upstreams
        if context is None or upstreams is None:
            return GateReport(self._id, os.getpid())
        return GateReport(
            id=self._id,
            pid=os.getpid(),
            in_flight=upstreams.in_flight(),
            replicas_in_flight=upstreams.replicas_in_flight(),
            parse_failures=context.parse_failures,
            refused=context.refused(),
            loop_lag=context.watchdog.lag(),
            upstreams=upstreams.reports(),
        )
