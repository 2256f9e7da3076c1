"""What each request is charged, and the books that prove that nothing is lost.

What exists once per request holds no cycle and is kept from the garbage collector, as in ``requests.py``.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Self

from msgspec import Struct

from joulegate.model.energy import Component, DeviceId
from joulegate.model.requests import Asked, Fact, Node, Outcome, SpanId, Task, TaskFacts, WorkClass
from joulegate.units import Micrograms, Microjoules, Nanoseconds


class Method(StrEnum):
    """How a request's energy was got."""

    MODEL = "model"
    """The fitted step-clock model, scaled to the counter."""
    TOKENS = "tokens"
    """Each small cell's energy by the tokens and image work in it."""
    OVERLAP = "overlap"
    """Each small cell's energy in equal parts to those present."""
    OVERLAP_SERVICE = "overlap-service"
    TOKENS_CAPPED = "tokens-capped"
    WINDOW = "window"
    ESTIMATE = "estimate"
    """Start-up coefficients, scaled to the counter."""
    UNMEASURED = "unmeasured"
    """No part of the request lies inside a span whose energy is known: its energy is ``None``."""


class UpstreamSetup(Struct, frozen=True):
    """What settlement must know about an upstream."""

    kind: str = "auto"
    """``llm``, ``image``, or ``auto``: as each request's own facts say."""
    devices: tuple[DeviceId, ...] = ()
    concurrency: int = 1
    """Image upstreams: requests that may share one batch."""


class Share(StrEnum):
    """What part of a device's power an energy is."""

    ACTIVE = "active"
    """Drawn because of work."""
    IDLE = "idle"
    """Drawn just for being awake."""
    UNSPLIT = "unsplit"
    """Both: the idle power was not known."""


class DeviceEnergy(Struct, frozen=True, array_like=True, gc=False):
    """A request's energy on one device."""

    device: DeviceId
    energy: Microjoules
    static: Microjoules | None = None
    """The part of ``energy`` that the device draws just for being awake; ``None`` if it was not split."""


class Settled(Struct, frozen=True, gc=False):
    """The figure of one request. A later one with the same id replaces a provisional one."""

    id: SpanId
    energy: Microjoules | None
    """Sum over devices; ``None`` if no part of it was measured."""
    sigma: Microjoules | None
    """One standard deviation; ``None`` for a method that has none."""
    method: Method
    final: bool
    by_device: tuple[DeviceEnergy, ...] = ()
    wasted: Microjoules = Microjoules(0)
    """The part of ``energy`` spent after the client had left."""


class WindowBooks(Struct, frozen=True):
    """The books of one device over one closed window: ``counter = requests + idle + unattributed``."""

    device: DeviceId
    start: Nanoseconds
    end: Nanoseconds
    counter: Microjoules
    requests: Microjoules
    idle: Microjoules
    unattributed: tuple[tuple[str, Microjoules], ...] = ()
    """By reason: foreign, crash, restart, meter."""
    gap: Nanoseconds = Nanoseconds(0)
    """Time in the window whose energy is unknown; it is in none of the accounts."""

    def error(self) -> int:
        """Return what is missing from the books in microjoules: zero, always."""
        return self.counter - self.requests - self.idle - sum(energy for _, energy in self.unattributed)


class Emissions(Struct, frozen=True, gc=False):
    """Operational emissions of one request."""

    mass: Micrograms
    zone: str
    intensity: Micrograms
    """Per kWh, as in force over the span."""
    basis: str = "location"


class Part(Struct, frozen=True, array_like=True, gc=False):
    """One step of a job: its time, and its share of the job's energy by that time."""

    node: Node
    time: Nanoseconds
    energy: Microjoules


class RequestRecord(Struct, frozen=True, omit_defaults=True, gc=False):
    """Everything that is kept about one finished request: the ledger's row and the exporters' input."""

    id: SpanId
    upstream: str
    protocol: str
    task: Task
    work: WorkClass
    model: str | None
    outcome: Outcome
    settled: Settled
    started: Nanoseconds
    """Wall clock, since the Unix epoch."""
    duration: Nanoseconds
    components: tuple[tuple[Component, Microjoules], ...] = ()
    """``settled.energy`` by the component of its devices."""
    asked: Asked = Asked()
    facts: TaskFacts = TaskFacts()
    emissions: Emissions | None = None
    tenant: str | None = None
    status: int | None = None
    client_request_id: str | None = None
    first_byte: Nanoseconds | None = None
    """Time from the request's arrival to the first content byte."""
    overhead_request: Nanoseconds | None = None
    overhead_response: Nanoseconds | None = None
    job: str | None = None
    """The server's id of the job that this request was."""
    parts: tuple[Part, ...] = ()
    """``settled.energy`` by the steps of the job: they add up to it."""

    def shares(self) -> tuple[tuple[Component, Share, Microjoules], ...]:
        """Return ``settled.energy`` by component and share; the parts add up to it.

        Devices are not told apart by component here, so energy of more than one component is not split.
        """
        statics = [part.static for part in self.settled.by_device if part.static is not None]
        if len(self.components) != 1 or not statics or len(statics) < len(self.settled.by_device):
            return tuple((component, Share.UNSPLIT, energy) for component, energy in self.components)
        component, energy = self.components[0]
        idle = min(sum(statics), energy)
        return (
            (component, Share.ACTIVE, Microjoules(energy - idle)),
            (component, Share.IDLE, Microjoules(idle)),
        )

    @property
    def labels(self) -> "Labels":
        """The labels under which the record counts in sums."""
        return Labels(self.task, self.work, self.model, self.upstream, self.outcome, self.tenant)

    def balance(self) -> "Balance":
        """Return this record as sums; counts of hostile size are cut at ``LARGEST_COUNT``."""
        return Balance.of([self])


LARGEST_COUNT = 10**15
"""Largest count that one record adds: what a server claims must never make a sum useless."""


class Labels(Struct, frozen=True, gc=False):
    """The labels under which sums are kept, the same from the record to the ledger and the exporters.

    A new label is a field here and in ``RequestRecord.labels``, a column of the ledger's ``totals`` and a
    label of the exporters' counters. Names and order of the ledger's columns come from here.
    """

    task: Task
    work: WorkClass
    model: str | None
    upstream: str
    outcome: Outcome
    tenant: str | None

    def values(self) -> tuple[str, ...]:
        """Return the labels as text, in the order of the fields; an absent one is empty."""
        return (
            self.task.value,
            self.work.value,
            self.model or "",
            self.upstream,
            self.outcome.value,
            self.tenant or "",
        )


class Balance(Labels, frozen=True, gc=False):
    """Sums over final records of the same labels: what the exporters' counters open with.

    A new count is a field here, its source in ``of``, its sum in ``__add__``, and whatever shows it. The
    ledger keeps balances as they are.
    """

    requests: int
    unmeasured: int = 0
    """Those of them without a known energy."""
    energy: tuple[tuple[Component, Share, Microjoules], ...] = ()
    """As ``RequestRecord.shares`` gives it."""
    wasted: Microjoules = Microjoules(0)
    """After the clients had left."""
    emissions: tuple[tuple[str, Micrograms], ...] = ()
    """By basis."""
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    pixel_steps: int = 0
    """Sum of pixels times steps."""

    @classmethod
    def empty(cls, labels: Labels) -> Self:
        """Return the balance of no request."""
        return cls(
            task=labels.task,
            work=labels.work,
            model=labels.model,
            upstream=labels.upstream,
            outcome=labels.outcome,
            tenant=labels.tenant,
            requests=0,
        )

    @classmethod
    def of(cls, records: Sequence[RequestRecord]) -> Self:
        """Return the sums over one or more records of the same labels."""
        facts = [record.facts for record in records]
        energy: dict[tuple[Component, Share], int] = {}
        emissions: dict[str, int] = {}
        for record in records:
            for component, share, part in record.shares():
                energy[component, share] = energy.get((component, share), 0) + part
            if (emitted := record.emissions) is not None:
                emissions[emitted.basis] = emissions.get(emitted.basis, 0) + emitted.mass
        first = records[0]
        return cls(
            task=first.task,
            work=first.work,
            model=first.model,
            upstream=first.upstream,
            outcome=first.outcome,
            tenant=first.tenant,
            requests=len(records),
            unmeasured=sum([record.settled.energy is None for record in records]),
            energy=tuple(
                (component, share, Microjoules(part)) for (component, share), part in energy.items()
            ),
            wasted=Microjoules(sum([record.settled.wasted for record in records])),
            emissions=tuple((basis, Micrograms(mass)) for basis, mass in emissions.items()),
            prompt_tokens=_sum([one.prompt_tokens for one in facts]),
            cached_prompt_tokens=_sum([one.cached_prompt_tokens for one in facts]),
            completion_tokens=_sum([one.completion_tokens for one in facts]),
            reasoning_tokens=_sum([one.reasoning_tokens for one in facts]),
            images=_sum([one.images for one in facts]),
            pixel_steps=sum([_pixel_steps(one) for one in facts if one.pixels]),
        )

    @property
    def labels(self) -> Labels:
        """The labels that its records share."""
        return Labels(self.task, self.work, self.model, self.upstream, self.outcome, self.tenant)

    def __add__(self, other: "Balance") -> "Balance":
        """Return the sums of both under the labels of the first."""
        energy = {(component, share): part for component, share, part in self.energy}
        for component, share, part in other.energy:
            energy[component, share] = Microjoules(energy.get((component, share), 0) + part)
        emissions = dict(self.emissions)
        for basis, mass in other.emissions:
            emissions[basis] = Micrograms(emissions.get(basis, 0) + mass)
        return Balance(
            task=self.task,
            work=self.work,
            model=self.model,
            upstream=self.upstream,
            outcome=self.outcome,
            tenant=self.tenant,
            requests=self.requests + other.requests,
            unmeasured=self.unmeasured + other.unmeasured,
            energy=tuple((component, share, part) for (component, share), part in energy.items()),
            wasted=Microjoules(self.wasted + other.wasted),
            emissions=tuple(emissions.items()),
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_prompt_tokens=self.cached_prompt_tokens + other.cached_prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            images=self.images + other.images,
            pixel_steps=self.pixel_steps + other.pixel_steps,
        )


class Alike(Struct, frozen=True, gc=False):
    """Records of the same labels, and their sums."""

    sums: Balance
    records: Sequence[RequestRecord]


def alike(records: Iterable[RequestRecord]) -> list[Alike]:
    """Return records by their labels, with sums that are those of their balances, ordered by the first."""
    groups: dict[Labels, list[RequestRecord]] = {}
    for record in records:
        groups.setdefault(record.labels, []).append(record)
    return [Alike(Balance.of(group), group) for group in groups.values()]


def _sum(facts: Iterable[Fact | None]) -> int:
    values = [fact.value for fact in facts if fact is not None]
    if not values:
        return 0
    if min(values) >= 0 and max(values) <= LARGEST_COUNT:
        return sum(values)
    return sum([min(max(value, 0), LARGEST_COUNT) for value in values])


def _pixel_steps(facts: TaskFacts) -> int:
    return min(_sum([facts.pixels]) * _sum([facts.steps]), LARGEST_COUNT)
