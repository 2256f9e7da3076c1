"""The meter: the only owner of this host's devices, and of what their energy was spent on.

All state lives on one event loop. Readings and commits come from other threads through
``call_soon_threadsafe``; nothing here waits for a device or a disk.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import ParamSpec

from joulegate import __version__, clock
from joulegate.budgets.windows import Budgets
from joulegate.ledger.rows import BooksTotal
from joulegate.ledger.sqlite import Ledger
from joulegate.log import logger
from joulegate.meter.requests.open_requests import OpenRequests
from joulegate.meter.requests.record_writer import RecordWriter
from joulegate.meter.requests.settlement import Settlement, Settlements
from joulegate.meter.sampling.sampler import ReaderHealth, Sampling
from joulegate.meter.state.meter_state import (
    Gates,
    MeterSetup,
    Served,
    UpstreamStates,
    boundary,
    carbon_status,
    degraded,
    device_status,
)
from joulegate.meter.totals.carbon_intensity import CarbonIntensity
from joulegate.meter.totals.model_kinds import ModelKinds
from joulegate.meter.totals.results import Results
from joulegate.model import (
    ChannelStatus,
    DeviceId,
    DeviceLoad,
    EnergySample,
    GateReport,
    MeterStatus,
    RequestRecord,
    SourceFailure,
    SpanClosed,
    SpanEvent,
    SpanId,
    SpanOpened,
    UpstreamSetup,
)
from joulegate.ports import Attributor, CarbonSource, DeviceHealth, Exporter
from joulegate.units import Nanoseconds, nanoseconds, seconds

TICK_SECONDS = 0.25
"""Between two settlements."""
RESUME_WAIT_SECONDS = 2.0
"""How long a meter that goes on from an earlier one waits for the gates to send again what they keep."""
DRAIN_WAIT_SECONDS = 2.0
"""How long a stopping meter waits for the gates to leave, and then for a last reading."""
RESUME_LIMIT = nanoseconds(600)
"""Older readings are no place to go on from: what was drawn since then is nobody's."""
FAULT_LOG_INTERVAL = nanoseconds(60)
"""A fault that lasts is logged so often."""

P = ParamSpec("P")
Deliver = Callable[[EnergySample | SourceFailure | DeviceLoad], None]
Settle = Callable[[Nanoseconds, Nanoseconds], Settlements]
"""Settles at an instant of the monotonic and of the wall clock."""
Acknowledge = Callable[[Mapping[str, Sequence[SpanId]]], None]
"""Tells each gate which requests it may forget."""


class Meter:
    """Implements ``ports.EventHandler``. All methods are for the event loop that runs it."""

    def __init__(
        self,
        setup: MeterSetup,
        attributor: Attributor,
        ledger: Ledger,
        *,
        sampler: Callable[[Deliver], Sampling],
        exporters: Sequence[Exporter] = (),
        budgets: Budgets | None = None,
        carbon: CarbonSource | None = None,
        now: Callable[[], Nanoseconds] = clock.monotonic,
        wall: Callable[[], Nanoseconds] = clock.wall,
    ) -> None:
        self._setup = setup
        self._attributor = attributor
        self._ledger = ledger
        self._make_sampler = sampler
        self._results = Results(ledger, budgets or Budgets(()), exporters, ModelKinds(setup.models).of)
        self._grid = CarbonIntensity(carbon, pue=setup.pue)
        self._now, self._wall = now, wall
        self._log = logger("meter")
        self._gates = Gates()
        self._upstreams = UpstreamStates(setup.upstreams)
        self._writer = RecordWriter(
            {device.id: device.component for device in setup.devices},
            self._upstreams.models(),
            self._grid.emissions,
        )
        self._began = now()
        self._requests = OpenRequests(ledger.settled, began=self._began)
        self.settlement = Settlement(attributor, self._writer, self._requests, boot=setup.boot)
        self._sampler: Sampling | None = None
        self._channel: Callable[[], ChannelStatus] = ChannelStatus
        self._ready = False
        self._last_fault: Nanoseconds | None = None
        self._results.restore(setup.devices)
        self._grace = RESUME_WAIT_SECONDS if self._resume() else 0.0

    # --- ports.EventHandler

    def gate_connected(self, report: GateReport) -> None:
        """Record that a gate came."""
        self.gate_reported(report)

    def gate_reported(self, report: GateReport) -> None:
        """Record a gate's own figures."""
        for one in self._upstreams.learn(self._gates.report(report)):
            self._log.info("upstream.recognised", upstream=one.name, kind=one.kind, version=one.version)

    def gate_lost(self, gate: str) -> None:
        """End the open requests of a gate that died."""
        self._gates.lose(gate)
        self._guarded(self.settlement.gate_lost, gate, self._now())

    def event(self, gate: str, event: SpanEvent, earliest: Nanoseconds | None = None) -> bool:
        """Record one event; return whether its request has its record on disk already."""
        try:
            is_settled = self.settlement.event(gate, event, earliest)
            if isinstance(event, SpanOpened | SpanClosed):
                self._show(event)
        except Exception:
            self._log_fault()
            return False
        return is_settled

    def is_settled(self, id_: SpanId) -> bool:
        """Whether the record of a request is on disk."""
        return self._requests.is_settled(id_)

    def _show(self, event: SpanOpened | SpanClosed) -> None:
        """Let the state of an upstream and the series of a request show how it began or ended."""
        request = self._requests.get(event.id)
        if request is None or request.opened is None:
            return
        if isinstance(event, SpanOpened):
            self._upstreams.opened(event)
        else:
            self._upstreams.closed(request.opened.upstream, event)
            self._results.begin_series(request.opened, event, self._writer.model(request.opened, event))

    # --- what others ask

    def status(self) -> MeterStatus:
        """Return everything at this instant."""
        now, wall = self._now(), self._wall()
        health = self._sampler.health() if self._sampler else {}
        devices = tuple(
            device_status(
                device,
                self._results.accounts.of(device.id),
                health.get(device.id, ReaderHealth()),
                self._attributor.health(device.id),
                now,
            )
            for device in self._setup.devices
        )
        ledger = self._ledger.status()
        intensity = self._grid.intensity(wall)
        return MeterStatus(
            version=__version__,
            now=wall,
            uptime=Nanoseconds(now - self._began),
            method=self._setup.method,
            boundary=boundary(self._setup.devices, self._setup.pue),
            ready=self._ready,
            degraded=degraded(devices, given=self._troubles(now), ledger_lag=ledger.lag),
            devices=devices,
            upstreams=self._upstreams.status(self._gates),
            gates=self._gates.status(),
            totals=self._results.totals.rows(),
            budgets=self._results.budgets.status(wall),
            carbon=carbon_status(intensity) if intensity else None,
            ledger=ledger,
            pending=self.settlement.pending,
            works=self._results.totals.works(),
            channel=self._channel(),
        )

    def _troubles(self, now: Nanoseconds) -> str:
        if self._last_fault is None or now - self._last_fault > FAULT_LOG_INTERVAL:
            return self._setup.degraded
        return "; ".join(filter(None, (self._setup.degraded, "settlement failed: see the log")))

    def books(self) -> tuple[BooksTotal, ...]:
        """Return the books of every device since the ledger began."""
        return self._results.accounts.all()

    def find(self, id_: str) -> RequestRecord | None:
        """Return a request by its own id or its client's; ``settled.final`` says whether its figure stays.

        May read the disk; raises ``LedgerUnavailable`` if that fails.
        """
        return self.settlement.find(id_) or self._ledger.find(id_)

    def assign(self, served: Served, setup: UpstreamSetup) -> None:
        """Change where an upstream works."""
        self._upstreams.change(served)
        self._attributor.assign(served.name, setup)

    # --- its life

    async def run(
        self,
        stop: asyncio.Event,
        acknowledge: Acknowledge,
        channel: Callable[[], ChannelStatus] = ChannelStatus,
    ) -> None:
        """Meter until ``stop``, then settle all that is left and close the ledger.

        ``acknowledge`` is called with the requests that each gate may forget, for their records are on disk;
        ``channel`` says how gates and meter understand each other.
        """
        self._channel = channel
        loop = asyncio.get_running_loop()

        def written(ids: Sequence[SpanId]) -> None:
            acknowledge(self.settlement.written(ids))

        self._ledger.start(partial(_call_soon, loop, written))
        self._sampler = self._make_sampler(partial(_call_soon, loop, self._sample))
        self._sampler.start()
        self._ready = True
        self._log.info("meter.started", devices=[device.id for device in self._setup.devices])
        try:
            await _until(stop, self._grace)
            while not stop.is_set():
                self._step(self.settlement.advance)
                self._guarded(self._check_disconnects, self._sampler)
                await _until(stop, TICK_SECONDS)
        finally:
            self._ready = False
            await self._drain(self._sampler)

    async def _drain(self, sampler: Sampling) -> None:
        self._log.info("meter.draining", gates=self._gates.connected, pending=self.settlement.pending)
        await self._wait_for(lambda: self._gates.connected == 0)
        self.settlement.abandon_jobs(self._gates.connected)
        began = self._now()
        await self._wait_for(partial(self._is_read_since, sampler, began))
        await asyncio.to_thread(sampler.stop)
        await asyncio.sleep(0)  # what the threads delivered last is taken first
        self._step(self.settlement.drain)
        await asyncio.to_thread(self._ledger.close)
        self._log.info("meter.stopped", pending=self.settlement.pending)

    async def _wait_for(self, holds: Callable[[], bool]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_WAIT_SECONDS):
                while not holds():
                    self._step(self.settlement.advance)
                    await asyncio.sleep(TICK_SECONDS / 5)

    def _is_read_since(self, sampler: Sampling, t: Nanoseconds) -> bool:
        return all(
            not health.up or (health.last is not None and health.last.t >= t)
            for health in sampler.health().values()
        )

    # --- settlement

    def _sample(self, sample: EnergySample | SourceFailure | DeviceLoad) -> None:
        if isinstance(sample, DeviceLoad):
            self._guarded(self.settlement.load, sample)
        else:
            self._guarded(self.settlement.sample, sample)

    def _step(self, settle: Settle) -> None:
        """Settle, and pass on what that brought."""
        try:
            self._results.take(settle(self._now(), self._wall()), self._health())
        except Exception:
            self._log_fault()

    def _health(self) -> dict[DeviceId, DeviceHealth]:
        return {device.id: self._attributor.health(device.id) for device in self._setup.devices}

    def _guarded(self, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do a step; a fault in it ends neither metering nor traffic."""
        try:
            step(*args, **kwargs)
        except Exception:
            self._log_fault()

    def _log_fault(self) -> None:
        """Log the exception in hand; one that lasts once a minute."""
        now = self._now()
        if self._last_fault is None or now - self._last_fault >= FAULT_LOG_INTERVAL:
            self._last_fault = now
            self._log.exception("settlement.failed")

    def _check_disconnects(self, sampler: Sampling) -> None:
        """Log servers that work on for clients that have left."""
        powers = {device: one.power if one.up else None for device, one in sampler.health().items()}
        for upstream in self._upstreams.look(self._now(), powers, self._gates):
            self._log.warning("upstream.overran", upstream=upstream)

    # --- restart

    def _resume(self) -> bool:
        """Begin each device at the reading up to which its books go, if it is of this boot and recent."""
        now, found = self._now(), False
        mine = {device.id for device in self._setup.devices}
        for reading in self._ledger.reader.readings():
            fresh = 0 <= now - reading.t <= RESUME_LIMIT
            if reading.device in mine and reading.boot == self._setup.boot and fresh:
                self.settlement.sample(EnergySample(reading.device, reading.t, counter=reading.counter))
                self._log.info(
                    "books.resumed", device=reading.device, age_seconds=seconds(Nanoseconds(now - reading.t))
                )
                found = True
        return found


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[..., None], argument: object) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody listens any more
        loop.call_soon_threadsafe(call, argument)


async def _until(stop: asyncio.Event, patience: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await stop.wait()
