"""The words of joulegate: frozen structs that rooms hand to one another.

``requests`` says what a client asked and what a server did, ``energy`` what a device drew, ``settlement``
what each request is charged, ``status`` what the meter shows. Nothing here computes or does I/O. A field
that is not known is ``None``, never zero.
"""

from joulegate.model.energy import Component, Device, DeviceId, EnergySample, SourceFailure, Tier
from joulegate.model.requests import (
    Asked,
    Fact,
    FactSource,
    JobState,
    Outcome,
    Phase,
    ServerTimings,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
    TaskFacts,
    WorkClass,
)
from joulegate.model.settlement import (
    DeviceEnergy,
    Emissions,
    Method,
    RequestRecord,
    Settled,
    UpstreamSetup,
    WindowBooks,
)
from joulegate.model.status import (
    BudgetStatus,
    CarbonStatus,
    DeviceStatus,
    GateReport,
    GateStatus,
    LedgerStatus,
    MeterStatus,
    TaskTotals,
    UpstreamStatus,
)

__all__ = [
    "Asked",
    "BudgetStatus",
    "CarbonStatus",
    "Component",
    "Device",
    "DeviceEnergy",
    "DeviceId",
    "DeviceStatus",
    "Emissions",
    "EnergySample",
    "Fact",
    "FactSource",
    "GateReport",
    "GateStatus",
    "JobState",
    "LedgerStatus",
    "MeterStatus",
    "Method",
    "Outcome",
    "Phase",
    "RequestRecord",
    "ServerTimings",
    "Settled",
    "SourceFailure",
    "SpanChunks",
    "SpanClosed",
    "SpanEvent",
    "SpanFirstByte",
    "SpanId",
    "SpanJob",
    "SpanOpened",
    "Task",
    "TaskFacts",
    "TaskTotals",
    "Tier",
    "UpstreamSetup",
    "UpstreamStatus",
    "WindowBooks",
    "WorkClass",
]
