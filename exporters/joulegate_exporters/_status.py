"""The meter's status as samples: books and readings of devices, budgets, carbon, health."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from joulegate.model import BudgetStatus, CarbonStatus, Component, Device, DeviceStatus, MeterStatus
from joulegate.units import NANO, Nanoseconds
from joulegate_exporters._labels import clean
from joulegate_exporters._tally import LabelValues, bounded
from joulegate_exporters.catalogue import BOOKS_REASON, CODE, REFUSED_REASON, REJECT_REASON

Sample = tuple[str, LabelValues, int]
"""Short name of the family, label values, value in inner units."""


def samples(status: MeterStatus) -> Iterator[Sample]:
    """Return every sample that the status holds; what is not known gives none."""
    for gpu, device in zip(gpu_labels([s.device for s in status.devices]), status.devices, strict=True):
        yield from _books(gpu, device)
        yield from _reading(gpu, device, status.boundary)
    for budget in status.budgets:
        yield from _budget(budget)
    if status.carbon:
        yield from _carbon(status.carbon, status.now)
    yield from _service(status)


def gpu_labels(devices: Sequence[Device]) -> list[str]:
    """Return the label ``gpu`` of each device: its index, or its id where two would be the same."""
    labels = [_gpu_label(device) for device in devices]
    return [
        clean(device.id) if labels.count(label) > 1 else label
        for device, label in zip(devices, labels, strict=True)
    ]


def _gpu_label(device: Device) -> str:
    return str(device.index) if device.component is Component.GPU else f"{device.component}{device.index}"


def _books(gpu: str, status: DeviceStatus) -> Iterator[Sample]:
    device, unattributed = status.device, sum(energy for _, energy in status.unattributed)
    error = status.measured - status.requests - status.idle - unattributed
    yield "gpu_energy_joules_total", (gpu, clean(device.id), clean(device.name)), status.measured
    yield "gpu_attributed_joules_total", (gpu, "request"), status.requests
    yield "gpu_attributed_joules_total", (gpu, "idle"), status.idle
    yield "gpu_attributed_joules_total", (gpu, "unattributed"), unattributed
    for reason, energy in bounded(status.unattributed, BOOKS_REASON.bound):
        yield "gpu_unattributed_joules_total", (gpu, reason), energy
    # The meter's own finding, and the sums as they stand on this page: neither may hide the other.
    yield "conservation_error_microjoules", (gpu,), status.conservation_error or error
    yield "counter_resets_total", (gpu,), status.resets
    for reason, times in bounded(status.rejected, REJECT_REASON.bound):
        yield "energy_rejected_total", (gpu, reason), times
    for code, times in bounded(status.errors, CODE.bound):
        yield "nvml_errors_total", (gpu, code), times
    yield "sampler_gap_seconds_total", (gpu,), status.gap


def _reading(gpu: str, status: DeviceStatus, boundary: str) -> Iterator[Sample]:
    device = status.device
    yield "gpu_up", (gpu,), int(status.up)
    yield "nvml_stalled", (gpu,), int(status.stalled)
    yield from _known("gpu_power_watts", (gpu,), status.power)
    yield from _known("gpu_idle_power_watts", (gpu,), status.idle_power)
    yield from _known("gpu_power_limit_watts", (gpu,), device.power_limit)
    yield from _known("sample_age_seconds", (gpu,), status.last_sample_age)
    yield "energy_source_info", (gpu, clean(device.source), device.tier.value, clean(boundary)), 1


def _budget(budget: BudgetStatus) -> Iterator[Sample]:
    name = (clean(budget.name),)
    unit, total = ("grams", "co2e_grams") if budget.unit == "grams" else ("joules", "energy_joules")
    yield f"budget_limit_{unit}", name, budget.limit
    yield f"budget_used_{unit}", name, budget.used
    yield f"budget_{total}_total", name, budget.total
    yield "budget_period_seconds", name, budget.period
    yield "budget_period_end_timestamp_seconds", name, budget.period_end


def _carbon(carbon: CarbonStatus, now: Nanoseconds) -> Iterator[Sample]:
    zone = clean(carbon.zone)
    yield (
        "carbon_intensity_grams_per_kwh",
        (zone, clean(carbon.source), clean(carbon.basis)),
        carbon.intensity,
    )
    yield from _known("carbon_intensity_age_seconds", (zone,), _age(carbon, now))


def _age(carbon: CarbonStatus, now: Nanoseconds) -> Nanoseconds | None:
    """Return the age of an intensity; that of a yearly figure begins with the end of its year."""
    if carbon.age is not None or carbon.year is None:
        return carbon.age
    end = datetime(carbon.year + 1, 1, 1, tzinfo=UTC)
    return Nanoseconds(max(now - int(end.timestamp()) * NANO, 0))


def _service(status: MeterStatus) -> Iterator[Sample]:
    connected = [gate for gate in status.gates if gate.connected]
    for upstream in status.upstreams:
        yield "inflight_requests", (clean(upstream.name),), upstream.in_flight
        if upstream.up is not None:
            yield "upstream_up", (clean(upstream.name), clean(upstream.kind)), int(upstream.up)
        for replica in upstream.replicas:
            place = clean(upstream.name), clean(replica.name)
            yield "upstream_replica_inflight_requests", place, replica.in_flight
            if replica.up is not None:
                yield "upstream_replica_up", place, int(replica.up)
        if upstream.keeps_working is not None:
            yield "upstream_keeps_working", (clean(upstream.name),), int(upstream.keeps_working)
    yield "settlement_pending_requests", (), status.pending
    yield "gates_connected", (), len(connected)
    yield "loop_lag_seconds", (), max((gate.loop_lag for gate in connected), default=0)
    for reason, times in bounded(status.channel.refused, REFUSED_REASON.bound):
        yield "channel_refused_connections_total", (reason,), times
    bounds = (one.bound for one in status.channel.clocks)
    yield "channel_clock_error_seconds", (), max(bounds, default=Nanoseconds(0))
    if status.ledger:
        yield "ledger_rows", (), status.ledger.rows
        yield "ledger_backlog_records", (), status.ledger.backlog
        yield "ledger_lag_seconds", (), status.ledger.lag
        yield "ledger_write_errors_total", (), status.ledger.write_errors
        yield "ledger_dropped_total", (), status.ledger.dropped
    yield "build_info", (clean(status.version),), 1


def _known(name: str, labels: LabelValues, value: int | None) -> Iterator[Sample]:
    if value is not None:
        yield name, labels, value
