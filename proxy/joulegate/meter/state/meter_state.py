"""Puts the meter's status together from its parts. Pure."""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from joulegate.config import ModelConfig
from joulegate.ledger.rows import BooksTotal
from joulegate.meter.sampling.sampler import ReaderHealth
from joulegate.meter.state.power_disconnects import PowerDisconnectDetector, Powers
from joulegate.model import (
    CarbonStatus,
    Component,
    Device,
    DeviceId,
    DeviceStatus,
    GateReport,
    GateStatus,
    Outcome,
    Phase,
    ReplicaStatus,
    SpanClosed,
    SpanOpened,
    UpstreamReport,
    UpstreamStatus,
)
from joulegate.ports import DeviceHealth, Intensity
from joulegate.units import Nanoseconds

UNREACHED = {Outcome.UPSTREAM_REFUSED}
"""Ends of requests that say that their server is not there."""
SILENT = {
    Outcome.CANCELLED, Outcome.OVERRAN, Outcome.CLIENT_TIMEOUT, Outcome.ORPHANED, Outcome.UPSTREAM_TIMEOUT,
}  # fmt: skip
"""Ends of requests that say nothing about their server."""
GATES = 64
"""Gates that are shown; of those that are gone the oldest are forgotten first."""


class Served(Struct, frozen=True):
    """An upstream as the meter shows it."""

    name: str
    url: str
    kind: str = "auto"
    devices: tuple[DeviceId, ...] = ()
    model: str | None = None
    """Model of requests that name none."""
    note: str = ""
    """How its devices were found."""


class MeterSetup(Struct, frozen=True):
    """What was found out before the meter began."""

    devices: tuple[Device, ...]
    upstreams: tuple[Served, ...]
    method: str
    """Name of the attribution rule."""
    pue: float = 1.0
    degraded: str = ""
    """Why figures are missing or modelled for as long as this meter runs."""
    boot: str = ""
    """Identity of this boot of the host: ``/proc/sys/kernel/random/boot_id``."""
    models: tuple[ModelConfig, ...] = ()
    """What models were made for, as configured."""


class Gates:
    """The gates as they report."""

    def __init__(self) -> None:
        self._reports: dict[str, GateReport] = {}
        self._connected: set[str] = set()

    @property
    def connected(self) -> int:
        """Gates that are there."""
        return len(self._connected)

    def report(self, report: GateReport) -> list[UpstreamReport]:
        """Accept a report: its gate is there. Give what it says of servers and did not say before."""
        before = self._reports.pop(report.id, None)
        self._reports[report.id] = report
        self._connected.add(report.id)
        gone = [gate for gate in self._reports if gate not in self._connected]
        for gate in gone[: max(len(self._reports) - GATES, 0)]:
            del self._reports[gate]
        known = before.upstreams if before else ()
        return [one for one in report.upstreams if one not in known]

    def lose(self, gate: str) -> None:
        """Record that a gate is gone."""
        self._connected.discard(gate)

    def in_flight(self, upstream: str) -> int:
        """Return the requests under way to an upstream."""
        return sum(dict(report.in_flight).get(upstream, 0) for report in self._present())

    def replica_in_flight(self, upstream: str, replica: str) -> int:
        """Return the requests under way to one replica of an upstream."""
        return sum(
            count
            for report in self._present()
            for name, server, count in report.replicas_in_flight
            if name == upstream and server == replica
        )

    def status(self) -> tuple[GateStatus, ...]:
        """Return all gates."""
        return tuple(
            GateStatus(
                id=report.id,
                pid=report.pid,
                connected=report.id in self._connected,
                in_flight=sum(count for _, count in report.in_flight) if report.id in self._connected else 0,
                dropped_events=report.dropped_events,
                parse_failures=report.parse_failures,
                loop_lag=report.loop_lag,
                ignored_parts=report.ignored_parts,
            )
            for report in self._reports.values()
        )

    def _present(self) -> Iterable[GateReport]:
        return (report for gate, report in self._reports.items() if gate in self._connected)


class UpstreamStates:
    """The servers behind the gates, and what the last requests say of them."""

    def __init__(self, served: Iterable[Served]) -> None:
        self._served = {one.name: one for one in served}
        self._up: dict[str, bool] = {}
        self._told: dict[str, UpstreamReport] = {}
        """What the last gate that had news said."""
        self._leavings = PowerDisconnectDetector()
        self._overran: dict[str, bool] = {}
        """What the power of its devices says of a server."""

    def opened(self, opened: SpanOpened) -> None:
        """Notify that a request began."""
        self._leavings.opened(opened.upstream, opened.t)

    def closed(self, upstream: str, closed: SpanClosed) -> None:
        """Learn from the end of a request whether its server answers."""
        if closed.outcome not in SILENT:
            self._up[upstream] = closed.outcome not in UNREACHED
        if closed.outcome is Outcome.CANCELLED and closed.phase is not Phase.REQUEST:
            self._leavings.left(upstream, closed.t)

    def look(self, now: Nanoseconds, powers: Powers, gates: Gates) -> list[str]:
        """Compare what devices draw with what they drew for clients that left; return what is news."""
        flying = {name: gates.in_flight(name) for name in self._served}
        devices = {name: one.devices for name, one in self._served.items()}
        said = self._leavings.look(now, powers, flying, devices)
        news = [name for name, worked_on in said if worked_on and not self._keeps_working(name)]
        self._overran.update(said)
        return news

    def _keeps_working(self, name: str) -> bool | None:
        """Return the server's own count, which a gate read, before the power of its devices."""
        told = self._told.get(name)
        known = told.keeps_working if told else None
        return self._overran.get(name) if known is None else known

    def learn(self, reports: Iterable[UpstreamReport]) -> list[UpstreamReport]:
        """Accept what gates newly know of the servers; return those whose kind or version is new."""
        news: list[UpstreamReport] = []
        for one in reports:
            known = self._told.get(one.name, UpstreamReport(one.name))
            if one.name not in self._served:
                continue
            if one.up is not None:
                self._up[one.name] = one.up
            if one.keeps_working is None:
                one = replace(one, keeps_working=known.keeps_working)
            self._told[one.name] = one
            if one.up and (one.kind, one.version) != (known.kind, known.version):
                news.append(one)
        return news

    def change(self, served: Served) -> None:
        """Learn where a server works."""
        self._served[served.name] = served

    def models(self) -> Mapping[str, str | None]:
        """Return the configured model of each."""
        return {one.name: one.model for one in self._served.values()}

    def status(self, gates: Gates) -> tuple[UpstreamStatus, ...]:
        """Return all upstreams."""
        return tuple(self._status(one, gates) for one in self._served.values())

    def _status(self, one: Served, gates: Gates) -> UpstreamStatus:
        told = self._told.get(one.name, UpstreamReport(one.name, kind=one.kind))
        return UpstreamStatus(
            name=one.name,
            url=one.url,
            kind=told.kind,
            in_flight=gates.in_flight(one.name),
            devices=tuple(one.devices),
            up=self._up.get(one.name),
            note=one.note,
            version=told.version,
            models=told.models,
            keeps_working=self._keeps_working(one.name),
            replicas=tuple(
                ReplicaStatus(
                    name=replica.name,
                    up=replica.up,
                    in_flight=gates.replica_in_flight(one.name, replica.name),
                    version=replica.version,
                    models=replica.models,
                    note=replica.note,
                )
                for replica in told.replicas
            ),
        )


def device_status(
    device: Device, books: BooksTotal, reader: ReaderHealth, found: DeviceHealth, now: Nanoseconds
) -> DeviceStatus:
    """Return what is known of one device."""
    last = reader.last
    return DeviceStatus(
        device=device,
        up=bool(reader.up),
        power=reader.power if reader.up else None,
        idle_power=found.idle_power,
        measured=books.counter,
        requests=books.requests,
        idle=books.idle,
        unattributed=books.unattributed,
        conservation_error=books.error(),
        gap=books.gap,
        resets=books.resets,
        stalled=reader.stalled,
        errors=reader.errors,
        rejected=found.rejected,
        last_sample_age=None if last is None else Nanoseconds(max(now - last.t, 0)),
    )


def carbon_status(intensity: Intensity) -> CarbonStatus:
    """Return the intensity in force; a yearly factor has no age but its year."""
    return CarbonStatus(
        zone=intensity.zone,
        source=intensity.source,
        year=intensity.year,
        licence=intensity.licence,
        basis=intensity.basis,
        intensity=intensity.intensity,
        age=None,
    )


def boundary(devices: Iterable[Device], pue: float) -> str:
    """Return what the figures cover: ``facility``, ``host``, ``gpu``, or ``cpu`` where no GPU is metered."""
    components = {device.component for device in devices}
    if pue > 1:
        return "facility"
    if Component.GPU not in components:
        return "cpu" if components else "none"
    return "gpu" if components == {Component.GPU} else "host"


def degraded(devices: Iterable[DeviceStatus], *, given: str, ledger_lag: Nanoseconds) -> str:
    """Return why figures are missing or modelled; empty when all is well."""
    lost = [status.device.id for status in devices if not status.up and status.last_sample_age is not None]
    reasons = [given] if given else []
    if lost:
        reasons.append(f"no readings from {', '.join(lost)}")
    if ledger_lag > LATE:
        reasons.append("the ledger cannot be written; records wait in memory")
    return "; ".join(reasons)


LATE = 10_000_000_000
"""ns that records may wait for the disk before this is called a failure."""
