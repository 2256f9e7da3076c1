"""Records and statuses for exporters."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from joulegate.model import (
    BudgetStatus,
    CarbonStatus,
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
    RequestRecord,
    Settled,
    SpanId,
    Task,
    TaskFacts,
    Tier,
    UpstreamStatus,
    WorkClass,
)
from joulegate.units import Micrograms, Microjoules, Microwatts, Nanoseconds
from joulegate_exporters.prometheus import Plugin

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
        UpstreamStatus("text", "http://127.0.0.1:8000", "llamacpp", 3, ("0",), up=True),
        UpstreamStatus("image", "http://127.0.0.1:8001", "auto", 0, ("0",), up=None),
    ),
    gates=(GateStatus("gate-0", 41, True, 3, 5, 1, Nanoseconds(2_000_000)),),
    totals=(),
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
)  # fmt: skip

Scrape = Callable[..., dict[tuple[str, tuple[tuple[str, str], ...]], float]]


@pytest.fixture(scope="session")
def record() -> RequestRecord:
    """One ordinary final record of 42.5 J."""
    return RECORD


@pytest.fixture(scope="session")
def status() -> MeterStatus:
    """One ordinary status whose books balance."""
    return STATUS


@pytest.fixture(scope="session")
def device_status() -> DeviceStatus:
    return DEVICE


@pytest.fixture(scope="session")
def make_record() -> Callable[..., RequestRecord]:
    """Give a record like the ordinary one with other fields; ``energy`` sets it everywhere."""

    def make(energy: int | None = 42_500_000, static: int | None = None, **fields: Any) -> RequestRecord:
        parts = () if energy is None else (DeviceEnergy(GPU, Microjoules(energy), static),)
        settled = msgspec.structs.replace(RECORD.settled, energy=energy, by_device=parts)
        components = () if energy is None else ((Component.GPU, Microjoules(energy)),)
        return msgspec.structs.replace(RECORD, **{"settled": settled, "components": components} | fields)

    return make


@pytest.fixture(scope="session")
def scrape() -> Scrape:
    """Scrape an exporter in both formats with the official parsers; they must say the same."""

    def do(plugin: Plugin, status: MeterStatus = STATUS) -> dict[Any, float]:
        frozen = plugin.freeze(status)
        text, _ = plugin.render(frozen, "")
        openmetrics, _ = plugin.render(frozen, "application/openmetrics-text; version=1.0.0")
        classic = _samples(parser.text_string_to_metric_families(text.decode()))
        modern = _samples(openmetrics_parser.text_string_to_metric_families(openmetrics.decode()))
        assert classic == modern
        return classic

    return do


def _samples(families: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(found) == len(samples), "a series stands on the page twice"
    return found
