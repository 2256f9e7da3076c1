"""The meter: the only owner of this host's devices, and of what their energy was spent on.

All state lives on one event loop. Readings and commits come from other threads through
``call_soon_threadsafe``; nothing here waits for a device or a disk.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import ParamSpec

from joulegate import __version__, clock
from joulegate.budgets.windows import Budgets
from joulegate.ledger.rows import BooksTotal
from joulegate.ledger.sqlite import Ledger
from joulegate.log import logger
from joulegate.meter.requests.record_writer import RecordWriter
from joulegate.meter.requests.settlement import Settlement, Settlements
from joulegate.meter.sampling.sampler import ReaderHealth, Sampling
from joulegate.meter.state.meter_state import (
    Gates,
    MeterSetup,
    Served,
    Upstreams,
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
from joulegate.units import NANO, Nanoseconds, seconds

TICK = 0.25
"""Seconds between two settlements."""
GRACE = 2.0
"""Seconds that a meter which goes on from an earlier one waits for the gates to tell again."""
FAREWELL = 2.0
"""Seconds that a stopping meter waits for the gates to leave, and then for a last reading."""
RESUMED = Nanoseconds(600 * NANO)
"""Older readings are no place to go on from: what was drawn since then is nobody's."""
SAID_EVERY = Nanoseconds(60 * NANO)
"""A fault that lasts is said once a minute."""

P = ParamSpec("P")
Deliver = Callable[[EnergySample | SourceFailure | DeviceLoad], None]


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
        self._upstreams = Upstreams(setup.upstreams)
        self._writer = RecordWriter(
            {device.id: device.component for device in setup.devices},
            self._upstreams.models(),
            self._grid.emissions,
        )
        self.began = now()
        """When it took the ledger: no other meter can have settled what began later."""
        self._settlement = Settlement(
            attributor, self._writer, boot=setup.boot, settled_before=ledger.settled, began=self.began
        )
        self._sampler: Sampling | None = None
        self._channel: Callable[[], ChannelStatus] = ChannelStatus
        self._ready = False
        self._fault_said: Nanoseconds | None = None
        self._results.restore(setup.devices)
        self._grace = GRACE if self._resume() else 0.0

    # --- what gates tell (ports.EventHandler)

    def gate_connected(self, report: GateReport) -> None:
        """Notify that a gate came."""
        self.gate_reported(report)

    def gate_reported(self, report: GateReport) -> None:
        """Accept a gate's own figures."""
        for one in self._upstreams.learn(self._gates.report(report)):
            self._log.info("upstream.recognised", upstream=one.name, kind=one.kind, version=one.version)

    def gate_lost(self, gate: str) -> None:
        """End the open requests of a gate that died."""
        self._gates.lose(gate)
        self._guarded(self._settlement.gate_lost, gate, self._now())

    def event(self, gate: str, event: SpanEvent) -> None:
        """Accept one event."""
        self._guarded(self._settlement.event, gate, event)
        if isinstance(event, SpanOpened):
            self._upstreams.opened(event)
        if isinstance(event, SpanClosed) and (opened := self._settlement.opened(event.id)):
            self._upstreams.closed(opened.upstream, event)
            model = self._writer.model(opened, event)
            self._guarded(self._results.begin_series, opened, event, model)

    def books(self) -> tuple[BooksTotal, ...]:
        """Return the books of every device since the ledger began."""
        return self._results.accounts.all()

    def is_settled(self, id_: SpanId) -> bool:
        """Whether a gate may forget a request: its record is on disk."""
        return self._ledger.settled(id_)

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
            uptime=Nanoseconds(now - self.began),
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
            pending=self._settlement.pending,
            works=self._results.totals.works(),
            channel=self._channel(),
        )

    def _troubles(self, now: Nanoseconds) -> str:
        if self._fault_said is None or now - self._fault_said > SAID_EVERY:
            return self._setup.degraded
        return "; ".join(filter(None, (self._setup.degraded, "settlement failed: see the log")))

    def find(self, id_: str) -> RequestRecord | None:
        """Return a request by its own id or its client's; ``settled.final`` says whether its figure stays.

        May read the disk; raises ``LedgerUnavailable`` if that fails.
        """
        return self._settlement.find(id_) or self._ledger.find(id_)

    def assign(self, served: Served, setup: UpstreamSetup) -> None:
        """Learn where an upstream works."""
        self._upstreams.change(served)
        self._attributor.assign(served.name, setup)

    # --- its life

    async def run(
        self,
        stop: asyncio.Event,
        acknowledge: Callable[[Sequence[SpanId]], None],
        channel: Callable[[], ChannelStatus] = ChannelStatus,
    ) -> None:
        """Meter until ``stop``, then settle all that is left and close the ledger.

        ``acknowledge`` hears which requests are on disk, so that the gates may forget them; ``channel`` says
        how gates and meter understand each other.
        """
        self._channel = channel
        loop = asyncio.get_running_loop()
        self._ledger.start(partial(_call_soon, loop, lambda ids: acknowledge(self._settlement.recorded(ids))))
        self._sampler = self._make_sampler(partial(_call_soon, loop, self._sample))
        self._sampler.start()
        self._ready = True
        self._log.info("meter.started", devices=[device.id for device in self._setup.devices])
        try:
            await _until(stop, self._grace)
            while not stop.is_set():
                self._step(self._settlement.advance)
                self._guarded(self._notice, self._sampler)
                await _until(stop, TICK)
        finally:
            self._ready = False
            await self._drain(self._sampler)

    async def _drain(self, sampler: Sampling) -> None:
        self._log.info("meter.draining", gates=self._gates.connected, pending=self._settlement.pending)
        await self._wait_for(lambda: self._gates.connected == 0)
        self._settlement.abandon_jobs(self._gates.connected)
        began = self._now()
        await self._wait_for(partial(self._is_read_since, sampler, began))
        await asyncio.to_thread(sampler.stop)
        await asyncio.sleep(0)  # what the threads delivered last is taken first
        self._step(self._settlement.drain)
        await asyncio.to_thread(self._ledger.close)
        self._log.info("meter.stopped", pending=self._settlement.pending)

    async def _wait_for(self, holds: Callable[[], bool]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while not holds():
                    self._step(self._settlement.advance)
                    await asyncio.sleep(TICK / 5)

    def _is_read_since(self, sampler: Sampling, t: Nanoseconds) -> bool:
        return all(
            not health.up or (health.last is not None and health.last.t >= t)
            for health in sampler.health().values()
        )

    # --- settlement

    def _sample(self, sample: EnergySample | SourceFailure | DeviceLoad) -> None:
        if isinstance(sample, DeviceLoad):
            self._guarded(self._attributor.load, sample)
        else:
            self._guarded(self._settlement.sample, sample)

    def _step(self, settle: Callable[[Nanoseconds, Nanoseconds], Settlements]) -> None:
        self._guarded(lambda: self._results.take(settle(self._now(), self._wall()), self._health()))

    def _health(self) -> dict[DeviceId, DeviceHealth]:
        return {device.id: self._attributor.health(device.id) for device in self._setup.devices}

    def _guarded(self, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Accept a step; a fault in it is said once a minute and ends neither metering nor traffic."""
        try:
            step(*args, **kwargs)
        except Exception:
            now = self._now()
            if self._fault_said is None or now - self._fault_said >= SAID_EVERY:
                self._fault_said = now
                self._log.exception("settlement.failed")

    def _notice(self, sampler: Sampling) -> None:
        """Notice servers that work on for clients that have left."""
        powers = {device: one.power if one.up else None for device, one in sampler.health().items()}
        for upstream in self._upstreams.look(self._now(), powers, self._gates):
            self._log.warning("upstream.overran", upstream=upstream)

    # --- restart

    def _resume(self) -> bool:
        """Begin each device at the reading up to which its books go, if it is of this boot and recent."""
        now, found = self._now(), False
        mine = {device.id for device in self._setup.devices}
        for reading in self._ledger.reader.readings():
            fresh = 0 <= now - reading.t <= RESUMED
            if reading.device in mine and reading.boot == self._setup.boot and fresh:
                self._settlement.sample(EnergySample(reading.device, reading.t, counter=reading.counter))
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
