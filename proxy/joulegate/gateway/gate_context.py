"""What all exchanges of a gate share, and what the gate says of itself."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Protocol

from joulegate.gateway.exchange.observation import preferring
from joulegate.gateway.exchange.request_span import Identity
from joulegate.gateway.http.background_tasks import BackgroundTasks
from joulegate.gateway.http.heads import RequestHead
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.http.timers import Hangups, Watchdog
from joulegate.gateway.http.upstream_connection import Clock
from joulegate.gateway.jobs.job_poller import JobPoller
from joulegate.gateway.jobs.job_reporter import JobReporter
from joulegate.gateway.jobs.job_tracker import JobTracker, origin
from joulegate.gateway.policy.admission import Admission
from joulegate.gateway.policy.routing import Routes
from joulegate.gateway.policy.settings import GateSettings, Target
from joulegate.gateway.policy.usage_refusals import UsageRefusals
from joulegate.gateway.servers.disconnect_monitor import DisconnectMonitor
from joulegate.gateway.servers.upstream_prober import UpstreamProber
from joulegate.log import logger
from joulegate.model import Outcome
from joulegate.ports import EventSink, InferenceProtocol
from joulegate.units import NANO, Nanoseconds

_QUIET = Nanoseconds(NANO)
"""Shortest time between two log lines about one upstream's failures."""


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
    """The shared state of one gate. It lives on one event loop."""

    def __init__(
        self,
        settings: GateSettings,
        protocols: Mapping[str, InferenceProtocol],
        sink: EventSink,
        clock: Clock,
        wall: Clock,
    ) -> None:
        loop = self._loop = asyncio.get_running_loop()
        timeouts = settings.timeouts
        shortest = min(timeouts.first_byte, timeouts.idle, timeouts.head, timeouts.body)
        self.settings = settings
        self._protocols = protocols
        self._orders: dict[str, Mapping[str, InferenceProtocol]] = {}
        self._kinds: dict[str, str] = {}
        self.orders_changed: Callable[[], object] = tuple
        """Called when the protocols are asked in another order than before."""
        for target in settings.upstreams:
            self.recognise(target.name, target.kind)
        self.scout = UpstreamProber(settings.upstreams, lambda name: self.pools[name], self.recognise)
        self.sink = sink
        self.clock = clock
        self.wall = wall
        self.routes = Routes(settings.upstreams)
        self.admission = Admission()
        self.watchdog = Watchdog(loop, clock, shortest)
        self.watchdog.add(self)
        self.hangups = Hangups(loop)
        self.errands = BackgroundTasks(loop)
        self.pools = {target.name: Pool(target, clock, timeouts.connect) for target in settings.upstreams}
        self.jobs = JobTracker(sink, clock, wall)
        self.follower = JobPoller(self.jobs, protocols, self.pools, clock, self.observer_failed)
        self.aftercare = {target.name: self._aftercare(target) for target in settings.upstreams}
        self.usage_refusals = UsageRefusals(clock)
        self.draining = False
        self.parse_failures = 0
        self.active: set[ActiveExchange] = set()
        """Exchanges that are looked after."""
        self._handling = 0
        self._quiet: asyncio.Event | None = None
        self._lost: set[str] = set()
        self._silent: set[str] = set()
        self._logged: dict[str, Nanoseconds] = {}
        self._log = logger("gateway")

    # --- who is here ---------------------------------------------------------------------------------

    def entered(self) -> None:
        """Count a request that is being handled."""
        self._handling += 1

    def left(self) -> None:
        """Count it no longer."""
        self._handling -= 1
        self._settle()

    def ended(self, exchange: ActiveExchange, target: Target) -> None:
        """Look after an exchange with this upstream no longer."""
        self.active.discard(exchange)
        self.admission.leave(target)
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

    # --- clients that left ---------------------------------------------------------------------------

    def _aftercare(self, target: Target) -> DisconnectMonitor:
        return DisconnectMonitor(
            self.pools[target.name],
            self.errands,
            self.clock,
            partial(self.admission.works_on, target.name),
            partial(self._works_on, target.name),
            alone=self.settings.gates == 1,
        )

    def _works_on(self, upstream: str, keeps_working: bool) -> None:  # noqa: FBT001, RUF100 (an answer)
        """Record whether a server worked on for a client that had left; the first time is logged."""
        if self.scout.note_work(upstream, keeps_working=keeps_working) and keeps_working:
            self._log.warning("upstream.overran", upstream=upstream, kind=self.kind(upstream))

    # --- which protocols --------------------------------------------------------------------------------

    def protocols(self, candidates: Sequence[Target]) -> Mapping[str, InferenceProtocol]:
        """Return the protocols in the order in which these upstreams, if of one kind, want them asked."""
        kinds = {self._kinds[target.name] for target in candidates}
        return self._orders[kinds.pop()] if len(kinds) == 1 else self._protocols

    def kind(self, upstream: str) -> str:
        """Return what an upstream is, as far as that is known."""
        return self._kinds[upstream]

    def recognise(self, upstream: str, kind: str) -> None:
        """Record what an upstream is."""
        self._kinds[upstream] = kind
        self._orders.setdefault(kind, preferring(self._protocols, kind))
        self.orders_changed()

    def ear(self, identity: Identity, target: Target, head: RequestHead) -> JobReporter:
        """Return what hears of the jobs of a request."""
        protocol = self._protocols.get(identity.protocol)
        come_by = origin(protocol, identity.protocol, target, head.target, head.headers)
        return JobReporter(self.jobs, identity, come_by)

    # --- what happened -------------------------------------------------------------------------------

    def observer_failed(self, protocol: str) -> None:
        """Count an observer that raised; the first of each protocol is logged."""
        self.parse_failures += 1
        if protocol not in self._silent:
            self._silent.add(protocol)
            self._log.warning("observer.failed", protocol=protocol, exc_info=True)

    def usage_refused(self, upstream: str, route: str) -> None:
        """Remember that this upstream cannot be asked for usage."""
        if self.usage_refusals.refused(upstream, route):
            self._log.warning("usage.refused", upstream=upstream, route=route)

    def reached(self, upstream: str) -> None:
        """Record that a connection was opened."""
        if upstream in self._lost:
            self._lost.discard(upstream)
            self.scout.note(upstream, up=True)
            self.usage_refusals.forget(upstream)
            self._log.info("upstream.recovered", upstream=upstream)

    def failed(self, upstream: str, outcome: Outcome, detail: str) -> None:
        """Log a failure of an upstream: its loss once, everything else at most once a second."""
        if outcome is Outcome.UPSTREAM_REFUSED:
            if upstream not in self._lost:
                self._lost.add(upstream)
                self.scout.note(upstream, up=False)
                self._log.warning("upstream.lost", upstream=upstream, reason=detail)
            return
        now = self.clock()
        last = self._logged.get(upstream)
        if last is None or now - last >= _QUIET:
            self._logged[upstream] = now
            self._log.warning("request.failed", upstream=upstream, outcome=outcome.value, reason=detail)

    def broken(self) -> None:
        """Log an error of the gate's own, at most once a second."""
        now = self.clock()
        last = self._logged.get("")
        if last is None or now - last >= _QUIET:
            self._logged[""] = now
            self._log.error("request.failed", exc_info=True)
