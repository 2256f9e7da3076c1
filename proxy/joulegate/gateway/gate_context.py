"""What all exchanges of a gate share beside its upstreams."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from joulegate.gateway.http.background_tasks import BackgroundTasks
from joulegate.gateway.http.timers import Hangups, Watchdog
from joulegate.gateway.http.upstream_connection import Clock
from joulegate.gateway.jobs.job_tracker import JobTracker
from joulegate.gateway.policy.settings import GateSettings
from joulegate.log import logger
from joulegate.ports import EventSink
from joulegate.units import NANO, Nanoseconds

_QUIET = Nanoseconds(NANO)
"""Shortest time between two log lines about errors of the gate's own."""
_AT_ONCE = 256
"""Exchanges that are looked at in one callback: each may let its observer hear a few kilobytes."""


class ActiveExchange(Protocol):
    """An exchange under way."""

    def check(self, now: Nanoseconds) -> None:
        """Do what is due."""
        ...

    def shut_down(self) -> None:
        """End because the gate goes away."""
        ...


class GateContext:
    """Clocks, timers, background tasks and counters of one gate. It lives on one event loop."""

    def __init__(self, settings: GateSettings, sink: EventSink, clock: Clock, wall: Clock) -> None:
        loop = self._loop = asyncio.get_running_loop()
        timeouts = settings.timeouts
        shortest = min(timeouts.first_byte, timeouts.idle, timeouts.head, timeouts.body)
        self.settings = settings
        self.sink = sink
        self.clock = clock
        self.wall = wall
        self.watchdog = Watchdog(loop, clock, shortest)
        self.watchdog.add(self)
        self.hangups = Hangups(loop)
        self.tasks = BackgroundTasks(loop)
        self.jobs = JobTracker(sink, clock, wall)
        self.draining = False
        self.parse_failures = 0
        self.active: set[ActiveExchange] = set()
        """Exchanges that are looked after."""
        self._refused: Counter[str] = Counter()
        self._handling = 0
        self._quiet: asyncio.Event | None = None
        self._silent: set[str] = set()
        self._logged: Nanoseconds | None = None
        self._log = logger("gateway")

    # --- who is here ---------------------------------------------------------------------------------

    def entered(self) -> None:
        """Count a request that is being handled."""
        self._handling += 1

    def left(self) -> None:
        """Count it no longer."""
        self._handling -= 1
        self._settle()

    def ended(self, exchange: ActiveExchange) -> None:
        """Look after an exchange no longer."""
        self.active.discard(exchange)
        if self._quiet is not None:
            self._settle()

    def check(self, now: Nanoseconds) -> None:
        """Let every exchange do what is due, a part of them in each turn of the loop."""
        self._check(now, iter(tuple(self.active)))

    def _check(self, now: Nanoseconds, exchanges: Iterator[ActiveExchange]) -> None:
        some = tuple(islice(exchanges, _AT_ONCE))
        for exchange in some:
            exchange.check(now)
        if len(some) == _AT_ONCE:
            self._loop.call_soon(self._check, now, exchanges)

    async def quiet(self) -> None:
        """Wait until nothing is under way. For one at a time."""
        self._quiet = asyncio.Event()
        self._settle()
        await self._quiet.wait()

    def _settle(self) -> None:
        if self._quiet is not None and not self._handling and not self.active:
            self._quiet.set()

    # --- what happened -------------------------------------------------------------------------------

    def refuse(self, reason: str) -> None:
        """Count a request that no upstream was asked for."""
        self._refused[reason] += 1

    def refused(self) -> tuple[tuple[str, int], ...]:
        """Return the refused requests by reason, since the gate began."""
        return tuple(sorted(self._refused.items()))

    def observer_failed(self, protocol: str) -> None:
        """Count an observer that raised; the first of each protocol is logged."""
        self.parse_failures += 1
        if protocol not in self._silent:
            self._silent.add(protocol)
            self._log.warning("observer.failed", protocol=protocol, exc_info=True)

    def broken(self) -> None:
        """Log an error of the gate's own, at most once a second."""
        now = self.clock()
        if self._logged is None or now - self._logged >= _QUIET:
            self._logged = now
            self._log.error("request.failed", exc_info=True)
