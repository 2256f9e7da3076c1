"""What the meter shows of itself: the body of ``/v1/status`` and the gauges of the exporters."""

from msgspec import Struct

from joulegate.model.energy import Device
from joulegate.model.requests import Task, WorkClass
from joulegate.units import Micrograms, Microjoules, Microwatts, Nanoseconds


class DeviceStatus(Struct, frozen=True):
    """One metered device and its books since the ledger began."""

    device: Device
    up: bool
    power: Microwatts | None
    idle_power: Microwatts | None
    measured: Microjoules
    """Counter energy of all closed windows; equals the sum of the three accounts below."""
    requests: Microjoules
    idle: Microjoules
    unattributed: tuple[tuple[str, Microjoules], ...]
    conservation_error: int
    """Microjoules; zero, always."""
    gap: Nanoseconds
    resets: int
    stalled: bool
    errors: tuple[tuple[str, int], ...]
    """Failed readings by code."""
    rejected: tuple[tuple[str, int], ...]
    """Dropped counter steps by reason."""
    last_sample_age: Nanoseconds | None


class ReplicaStatus(Struct, frozen=True):
    """One server of an upstream."""

    name: str
    """``host:port``."""
    up: bool | None
    in_flight: int
    version: str = ""
    models: tuple[str, ...] = ()
    note: str = ""


class UpstreamStatus(Struct, frozen=True):
    """One configured upstream."""

    name: str
    url: str
    """Of its first replica."""
    kind: str
    in_flight: int
    devices: tuple[str, ...]
    up: bool | None
    """``None``: not known yet."""
    note: str = ""
    version: str = ""
    """As the server says it."""
    models: tuple[str, ...] = ()
    """As the server lists them."""
    keeps_working: bool | None = None
    """It was seen to work on for clients that had left; ``None``: not known."""
    replicas: tuple[ReplicaStatus, ...] = ()


class TaskTotals(Struct, frozen=True):
    """Settled figures of one task on one model since the ledger began."""

    task: Task
    model: str
    requests: int
    energy: Microjoules
    emissions: Micrograms | None
    model_kind: str | None = None
    """``task-specific`` or ``multi-purpose``; ``None`` is not known."""


class WorkTotals(Struct, frozen=True):
    """Settled figures of one class of work since the ledger began; only inference has tasks."""

    work: WorkClass
    requests: int
    energy: Microjoules


class ReplicaReport(Struct, frozen=True):
    """What a gate knows of one of the servers of an upstream."""

    name: str
    """``host:port``."""
    up: bool | None = None
    version: str = ""
    models: tuple[str, ...] = ()
    note: str = ""
    """Why it gets fewer requests than its siblings."""


class UpstreamReport(Struct, frozen=True):
    """What a gate knows of one upstream."""

    name: str
    up: bool | None = None
    """Whether it answered when it was last asked for anything; ``None``: not asked yet."""
    kind: str = "auto"
    version: str = ""
    models: tuple[str, ...] = ()
    keeps_working: bool | None = None
    replicas: tuple[ReplicaReport, ...] = ()


class GateReport(Struct, frozen=True):
    """What a gate says of itself."""

    id: str
    pid: int
    in_flight: tuple[tuple[str, int], ...] = ()
    """Requests under way by upstream."""
    replicas_in_flight: tuple[tuple[str, str, int], ...] = ()
    """The same by upstream and replica."""
    dropped_events: int = 0
    parse_failures: int = 0
    refused: tuple[tuple[str, int], ...] = ()
    """Requests refused before any upstream was asked, by reason."""
    loop_lag: Nanoseconds = Nanoseconds(0)
    """Longest stall of the event loop since the last report."""
    upstreams: tuple[UpstreamReport, ...] = ()
    ignored_parts: int = 0
    """Frames, and fields of frames, that its meter sent and that it does not know."""


class GateStatus(Struct, frozen=True):
    """One gate as the meter sees it."""

    id: str
    pid: int
    connected: bool
    in_flight: int
    dropped_events: int
    parse_failures: int
    loop_lag: Nanoseconds
    ignored_parts: int = 0


class ClockStatus(Struct, frozen=True):
    """How a connected gate's clock differs from the meter's; nothing of both on the meter's own host."""

    gate: str
    offset: Nanoseconds
    """What is added to its times."""
    bound: Nanoseconds
    """How far off that may be."""


class ChannelStatus(Struct, frozen=True):
    """How well gates and meter understand each other, since the meter began."""

    refused: tuple[tuple[str, int], ...] = ()
    """Connections that the meter closed for what came over them, by reason."""
    ignored_parts: int = 0
    """Frames of gates, and fields of them, that the meter does not know."""
    clocks: tuple[ClockStatus, ...] = ()


class BudgetCharge(Struct, frozen=True, array_like=True):
    """What one request takes from one budget: microjoules or micrograms, as the budget's limit is."""

    budget: str
    period: Nanoseconds
    """Wall clock at which the period began."""
    amount: int


class BudgetStatus(Struct, frozen=True):
    """One budget in its present period; joules or micrograms, as ``unit`` says."""

    name: str
    unit: str
    """``joules`` or ``grams``."""
    limit: int
    """Microjoules or micrograms."""
    used: int
    total: int
    """All that was ever charged to it: a counter."""
    period: Nanoseconds
    period_end: Nanoseconds
    """Wall clock."""


class CarbonStatus(Struct, frozen=True):
    """The carbon intensity in force."""

    zone: str
    source: str
    year: int | None
    licence: str
    basis: str
    intensity: Micrograms
    """Per kWh."""
    age: Nanoseconds | None


class LedgerStatus(Struct, frozen=True):
    """Health of the durable record."""

    path: str
    rows: int
    backlog: int
    write_errors: int
    dropped: int
    lag: Nanoseconds


class MeterStatus(Struct, frozen=True):
    """Everything at one instant."""

    version: str
    now: Nanoseconds
    """Wall clock."""
    uptime: Nanoseconds
    method: str
    boundary: str
    ready: bool
    degraded: str
    """Why figures are missing or modelled; empty when all is well."""
    devices: tuple[DeviceStatus, ...]
    upstreams: tuple[UpstreamStatus, ...]
    gates: tuple[GateStatus, ...]
    totals: tuple[TaskTotals, ...]
    budgets: tuple[BudgetStatus, ...]
    carbon: CarbonStatus | None
    ledger: LedgerStatus | None
    pending: int
    """Requests that ended and are not settled finally yet."""
    works: tuple[WorkTotals, ...] = ()
    """Inference first; a class without a request is left out."""
    channel: ChannelStatus = ChannelStatus()
