"""One ordinary record and one ordinary status, for the tests of exporters and boards."""

from typing import Any

import msgspec

from joulegate.model import (
    BudgetStatus,
    CarbonStatus,
    ChannelStatus,
    ClockStatus,
    Component,
    Device,
    DeviceEnergy,
    DeviceId,
    DeviceStatus,
    Emissions,
    Fact,
    GateStatus,
    LedgerStatus,
    MeterStatus,
    Method,
    Outcome,
    ReplicaStatus,
    RequestRecord,
    Settled,
    SpanId,
    Task,
    TaskFacts,
    TaskTotals,
    Tier,
    UpstreamStatus,
    WorkClass,
)
from joulegate.units import Micrograms, Microjoules, Microwatts, Nanoseconds

GPU = DeviceId("GPU-11111111-2222-3333-4444-555555555555")

RECORD = RequestRecord(
    id=SpanId("r1"),
    upstream="text",
    protocol="openai",
    task=Task.CHAT,
    work=WorkClass.INFERENCE,
    model="gemma-3-270m",
    outcome=Outcome.OK,
    settled=Settled(
        id=SpanId("r1"),
        energy=Microjoules(42_500_000),
        sigma=None,
        method=Method.TOKENS,
        final=True,
        by_device=(DeviceEnergy(GPU, Microjoules(42_500_000), Microjoules(2_500_000)),),
    ),
    started=Nanoseconds(1_764_000_000_000_000_000),
    duration=Nanoseconds(1_250_000_000),
    components=((Component.GPU, Microjoules(42_500_000)),),
    facts=TaskFacts(prompt_tokens=Fact(120), cached_prompt_tokens=Fact(20), completion_tokens=Fact(200)),
    emissions=Emissions(Micrograms(661_111), "FRA", Micrograms(56_000_000)),
    overhead_request=Nanoseconds(180_000),
    overhead_response=Nanoseconds(90_000),
)

DEVICE = DeviceStatus(
    device=Device(GPU, 0, "NVIDIA H200", "nvml", Tier.COUNTER, Component.GPU, Microwatts(700_000_000)),
    up=True,
    power=Microwatts(412_250_000),
    idle_power=Microwatts(75_000_000),
    measured=Microjoules(100_000_003),
    requests=Microjoules(42_500_000),
    idle=Microjoules(57_000_001),
    unattributed=(("foreign", Microjoules(500_000)), ("crash", Microjoules(2))),
    conservation_error=0,
    gap=Nanoseconds(1_500_000_000),
    resets=1,
    stalled=False,
    errors=(("NVMLError_GpuIsLost", 3),),
    rejected=(("impossible_jump", 2),),
    last_sample_age=Nanoseconds(100_000_000),
)

STATUS = MeterStatus(
    version="0.1.0",
    now=Nanoseconds(1_764_000_100_000_000_000),
    uptime=Nanoseconds(100_000_000_000),
    method="tokens",
    boundary="gpu",
    ready=True,
    degraded="",
    devices=(DEVICE,),
    upstreams=(
        UpstreamStatus(
            "text",
            "http://127.0.0.1:8000",
            "llamacpp",
            3,
            ("0",),
            up=True,
            keeps_working=False,
            replicas=(
                ReplicaStatus("127.0.0.1:8000", up=True, in_flight=3),
                ReplicaStatus("127.0.0.1:8002", up=False, in_flight=0),
                ReplicaStatus("127.0.0.1:8003", up=None, in_flight=0),
            ),
        ),
        UpstreamStatus("image", "http://127.0.0.1:8001", "auto", 0, ("0",), up=None),
    ),
    gates=(GateStatus("gate-0", 41, True, 3, 5, 1, Nanoseconds(2_000_000)),),
    totals=(TaskTotals(Task.CHAT, "gemma-3-270m", 1, Microjoules(42_500_000), None, "multi-purpose"),),
    budgets=(
        BudgetStatus(
            "day", "joules", 3_600_000_000_000, 42_500_000, 99_000_000, Nanoseconds(86_400_000_000_000),
            Nanoseconds(1_764_028_800_000_000_000),
        ),
        BudgetStatus(
            "carbon", "grams", 8_000_000_000, 661_111, 700_000, Nanoseconds(2_592_000_000_000_000),
            Nanoseconds(1_764_547_200_000_000_000),
        ),
    ),
    carbon=CarbonStatus(
        "FRA", "Ember", 2024, "CC-BY-4.0", "location", Micrograms(56_000_000), Nanoseconds(10**18)
    ),
    ledger=LedgerStatus("/var/lib/joulegate/ledger.db", 7, 0, 0, 0, Nanoseconds(20_000_000)),
    pending=2,
    channel=ChannelStatus(
        refused=(("version", 2), ("garbage", 0)),
        ignored_parts=4,
        clocks=(
            ClockStatus("gate-0", Nanoseconds(0), Nanoseconds(0)),
            ClockStatus("far-0", Nanoseconds(-86_400_000_000_000), Nanoseconds(250_000)),
        ),
    ),
)  # fmt: skip


def record(energy: int | None = 42_500_000, static: int | None = None, **fields: Any) -> RequestRecord:
    """Return a final record of an energy in microjoules on one GPU, ``static`` of it for being awake.

    ``fields`` replace other fields of the ordinary record. Its books balance unless they say otherwise.
    """
    known = None if energy is None else Microjoules(energy)
    idle = None if static is None else Microjoules(static)
    parts = () if known is None else (DeviceEnergy(GPU, known, idle),)
    components = () if known is None else ((Component.GPU, known),)
    settled = msgspec.structs.replace(RECORD.settled, energy=known, by_device=parts)
    return msgspec.structs.replace(RECORD, **{"settled": settled, "components": components} | fields)
