"""The table of the study: energy and emissions per 1,000 inferences, by task and model. Pure.

The form is that of Luccioni, Jernite and Strubell, "Power Hungry Processing" (arXiv 2311.16863, FAccT
2024), table 2 and figure 1: kWh per 1,000 inferences with its standard deviation, and everyday
equivalents.
"""

from collections.abc import Iterable

from msgspec import Struct

from joulegate.model import CarbonStatus, DeviceStatus, MeterStatus, ReportRow, WorkTotals
from joulegate.units import MICRO, NANO, UJ_PER_KWH, Nanoseconds

PER = 1_000
"""Inferences that a figure stands for."""
KWH_PER_CHARGE = 0.012
"""Charging a smartphone once: the US EPA's equivalence as the study quotes it; 11.49 kWh are its "950
charges"."""
GRAMS_PER_KM = 242.0
"""Driving a petrol car: 390 g CO2 per mile is what fits the study's "1,594 g are 4.1 miles"; 390 / 1.609."""


class StudyRow(Struct, frozen=True):
    """One group. Energy is per 1,000 inferences that ended well; ``None`` is unknown."""

    group: dict[str, str]
    requests: int
    """Ended well, with a known energy."""
    others: int
    """Failed, cancelled or without a known energy: not in the means."""
    energy_joules: float
    """Of all of them together."""
    kwh_per_1000: float | None
    kwh_per_1000_deviation: float | None
    """Standard deviation of the sample, between single requests."""
    grams_per_1000: float | None
    """CO2e."""
    charges_per_1000: float | None
    """Charges of a smartphone."""
    km_per_1000: float | None
    """In a petrol car with the same emissions."""
    methods: tuple[str, ...]
    """How the figures were got."""


class EnergyOrigin(Struct, frozen=True):
    """Where energy was read, and how good that is."""

    device: str
    name: str
    source: str
    tier: str
    note: str
    measured_joules: float
    idle_joules: float
    unattributed_joules: float
    error_microjoules: int
    """What is missing from the device's books: zero, always."""


class StudyReport(Struct, frozen=True):
    """Body of ``GET /v1/report``: the table with all that is needed to read it."""

    since: float
    """Unix time in seconds."""
    until: float
    boundary: str
    method: str
    """Of attribution, as configured."""
    degraded: str
    balanced: bool
    """Whether requests + idle + unattributed = measured on every device, to the microjoule."""
    pending: int
    """Requests that ended and are not in the table yet."""
    origins: tuple[EnergyOrigin, ...]
    carbon: CarbonStatus | None
    rows: tuple[StudyRow, ...]
    works: tuple[WorkTotals, ...] = ()
    """Energy by class of work since the ledger began; only inference is in the table."""
    model_kinds: tuple[tuple[str, str], ...] = ()
    """Models of the table that are known as ``task-specific`` or ``multi-purpose``."""


def report(
    rows: Iterable[ReportRow], status: MeterStatus, *, since: Nanoseconds, until: Nanoseconds
) -> StudyReport:
    """Return the report of a running meter."""
    table = tuple(study_row(row) for row in rows)
    models = {row.group.get("model") for row in table}
    kinds = {(one.model, one.model_kind) for one in status.totals if one.model_kind and one.model in models}
    return StudyReport(
        since=since / NANO,
        until=until / NANO,
        boundary=status.boundary,
        method=status.method,
        degraded=status.degraded,
        balanced=all(device.conservation_error == 0 for device in status.devices),
        pending=status.pending,
        origins=tuple(_origin(device) for device in status.devices),
        carbon=status.carbon,
        rows=table,
        works=status.works,
        model_kinds=tuple(sorted(kinds)),
    )


def study_row(row: ReportRow) -> StudyRow:
    """Return one row in the study's units."""
    kwh = _kwh_per_1000(row.mean)
    mass = None if row.mean_emissions is None else row.mean_emissions * PER / MICRO
    return StudyRow(
        group=dict(row.group),
        requests=row.requests,
        others=row.others,
        energy_joules=row.energy / MICRO,
        kwh_per_1000=kwh,
        kwh_per_1000_deviation=_kwh_per_1000(row.deviation),
        grams_per_1000=mass,
        charges_per_1000=None if kwh is None else kwh / KWH_PER_CHARGE,
        km_per_1000=None if mass is None else mass / GRAMS_PER_KM,
        methods=row.methods,
    )


def _kwh_per_1000(energy: float | None) -> float | None:
    return None if energy is None else energy * PER / UJ_PER_KWH


def _origin(status: DeviceStatus) -> EnergyOrigin:
    device = status.device
    return EnergyOrigin(
        device=device.id,
        name=device.name,
        source=device.source,
        tier=device.tier.value,
        note=device.note,
        measured_joules=status.measured / MICRO,
        idle_joules=status.idle / MICRO,
        unattributed_joules=sum(energy for _, energy in status.unattributed) / MICRO,
        error_microjoules=status.conservation_error,
    )
