"""What the admin API says, in base units: joules, grams, seconds. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from joulegate.config.quantities import duration
from joulegate.errors import ConfigError
from joulegate.ledger.rows import BooksTotal
from joulegate.model import Fact, RequestRecord
from joulegate.units import NANO, Nanoseconds, grams, joules, seconds


class DeviceView(Struct, frozen=True):
    """A request's energy on one device."""

    device: str
    joules: float
    idle_joules: float | None
    """The part of it that the device draws just for being awake."""


class EmissionsView(Struct, frozen=True):
    """Operational emissions of one request."""

    grams: float
    zone: str
    grams_per_kwh: float
    basis: str


class NodeView(Struct, frozen=True):
    """A step of a job."""

    name: str
    kind: str
    seconds: float
    joules: float
    """Its share of the job's energy by its time."""


class RequestView(Struct, frozen=True):
    """Body of ``GET /v1/requests/{id}``; what is not known is null."""

    id: str
    client_request_id: str | None
    state: str
    """``final``, or ``provisional``: the figure may still change."""
    energy_joules: float | None
    sigma_joules: float | None
    """One standard deviation."""
    method: str
    boundary: str
    wasted_joules: float
    """Spent after the client had left."""
    devices: tuple[DeviceView, ...]
    emissions: EmissionsView | None
    task: str
    work: str
    """Class of work; what is no ``inference`` is in no task's figures."""
    model: str | None
    upstream: str
    tenant: str | None
    outcome: str
    status: int | None
    started: float
    """Unix time in seconds."""
    duration_seconds: float
    first_byte_seconds: float | None
    facts: dict[str, tuple[int, str]]
    """Counts of work with the way each was got; audio is in nanoseconds."""
    job: str | None = None
    """The server's own id of the job that this request was."""
    nodes: tuple[NodeView, ...] = ()
    """The steps of the job, where the server tells of them: their joules add up to the energy."""


class BooksView(Struct, frozen=True):
    """The books of one device since the ledger began."""

    device: str
    measured_joules: float
    requests_joules: float
    idle_joules: float
    unattributed_joules: dict[str, float]
    gap_seconds: float
    """Time whose energy is unknown."""
    counter_resets: int
    error_microjoules: int
    """What is missing: zero, always."""


def request_view(record: RequestRecord, boundary: str) -> RequestView:
    """Return one request for people and programs outside."""
    settled, emitted = record.settled, record.emissions
    return RequestView(
        id=record.id,
        client_request_id=record.client_request_id,
        state="final" if settled.final else "provisional",
        energy_joules=joules(settled.energy) if settled.energy is not None else None,
        sigma_joules=joules(settled.sigma) if settled.sigma is not None else None,
        method=settled.method.value,
        boundary=boundary,
        wasted_joules=joules(settled.wasted),
        devices=tuple(
            DeviceView(part.device, joules(part.energy), None if part.static is None else joules(part.static))
            for part in settled.by_device
        ),
        emissions=EmissionsView(grams(emitted.mass), emitted.zone, grams(emitted.intensity), emitted.basis)
        if emitted
        else None,
        task=record.task.value,
        work=record.work.value,
        model=record.model,
        upstream=record.upstream,
        tenant=record.tenant,
        outcome=record.outcome.value,
        status=record.status,
        started=record.started / NANO,
        duration_seconds=seconds(record.duration),
        first_byte_seconds=None if record.first_byte is None else seconds(record.first_byte),
        facts=_facts(record),
        job=record.job,
        nodes=tuple(
            NodeView(part.node.name, part.node.kind, seconds(part.time), joules(part.energy))
            for part in record.parts
        ),
    )


def books_views(books: Iterable[BooksTotal]) -> tuple[BooksView, ...]:
    """Return the books of all devices."""
    return tuple(
        BooksView(
            device=device.device,
            measured_joules=joules(device.counter),
            requests_joules=joules(device.requests),
            idle_joules=joules(device.idle),
            unattributed_joules={reason: joules(energy) for reason, energy in device.unattributed},
            gap_seconds=seconds(device.gap),
            counter_resets=device.resets,
            error_microjoules=device.error(),
        )
        for device in books
    )


def instant(text: str, wall: Nanoseconds) -> Nanoseconds:
    """Read a time: ``24 h`` before now, ``2026-03-18`` or ``2026-03-18T14:00+01:00``, or Unix seconds.

    Raises ``ConfigError`` that names these forms. A time without a zone is UTC.
    """
    if text[:1].isdecimal() and text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) < 20:
        return Nanoseconds(round(float(text) * NANO))
    try:
        return Nanoseconds(wall - duration(text))
    except ConfigError:
        pass
    try:
        when = datetime.fromisoformat(text)
        return Nanoseconds(int(when.replace(tzinfo=when.tzinfo or UTC).timestamp()) * NANO)
    except (ValueError, OverflowError) as problem:
        raise ConfigError(
            f"{text[:60]!r} is no time: write '24 h' for the last 24 hours, '2026-03-18', "
            "'2026-03-18T14:00+01:00', or Unix seconds"
        ) from problem


def _facts(record: RequestRecord) -> dict[str, tuple[int, str]]:
    found = ((name, getattr(record.facts, name)) for name in record.facts.__struct_fields__)
    return {name: (fact.value, fact.source.value) for name, fact in found if isinstance(fact, Fact)}
