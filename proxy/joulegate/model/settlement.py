"""What each request is charged, and the books that prove that nothing is lost.

What exists once per request holds no cycle and is kept from the garbage collector, as in ``requests.py``.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

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

    def words(self) -> tuple[Task, WorkClass, str | None, str, Outcome, str | None]:
        """Return the words under which sums are kept."""
        return (self.task, self.work, self.model, self.upstream, self.outcome, self.tenant)

    def balance(self) -> "Balance":
        """Return this record as sums; counts of hostile size are cut at ``MOST``."""
        return _balance([self])


MOST = 10**15
"""Largest count that one record adds: what a server claims must never make a sum useless."""


class Balance(Struct, frozen=True, gc=False):
    """Sums over all final records that share these words: what the exporters' counters open with."""

    task: Task
    work: WorkClass
    model: str | None
    upstream: str
    outcome: Outcome
    tenant: str | None
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


class Alike(Struct, frozen=True, gc=False):
    """Records that share their words, and their sums."""

    sums: Balance
    records: Sequence[RequestRecord]


def alike(records: Iterable[RequestRecord]) -> list[Alike]:
    """Return records by their words, with sums that are those of their balances, ordered by the first."""
    groups: dict[tuple[object, ...], list[RequestRecord]] = {}
    for record in records:
        groups.setdefault(record.words(), []).append(record)
    return [Alike(_balance(group), group) for group in groups.values()]


def _balance(records: Sequence[RequestRecord]) -> Balance:
    task, work, model, upstream, outcome, tenant = records[0].words()
    facts = [record.facts for record in records]
    energy: dict[tuple[Component, Share], int] = {}
    emissions: dict[str, int] = {}
    for record in records:
        for component, share, part in record.shares():
            energy[component, share] = energy.get((component, share), 0) + part
        if (emitted := record.emissions) is not None:
            emissions[emitted.basis] = emissions.get(emitted.basis, 0) + emitted.mass
    return Balance(
        task=task,
        work=work,
        model=model,
        upstream=upstream,
        outcome=outcome,
        tenant=tenant,
        requests=len(records),
        unmeasured=sum([record.settled.energy is None for record in records]),
        energy=tuple((component, share, Microjoules(part)) for (component, share), part in energy.items()),
        wasted=Microjoules(sum([record.settled.wasted for record in records])),
        emissions=tuple((basis, Micrograms(mass)) for basis, mass in emissions.items()),
        prompt_tokens=_sum([one.prompt_tokens for one in facts]),
        cached_prompt_tokens=_sum([one.cached_prompt_tokens for one in facts]),
        completion_tokens=_sum([one.completion_tokens for one in facts]),
        reasoning_tokens=_sum([one.reasoning_tokens for one in facts]),
        images=_sum([one.images for one in facts]),
        pixel_steps=sum([_pixel_steps(one) for one in facts if one.pixels]),
    )


def _sum(facts: Iterable[Fact | None]) -> int:
    values = [fact.value for fact in facts if fact is not None]
    if not values:
        return 0
    if min(values) >= 0 and max(values) <= MOST:
        return sum(values)
    return sum([min(max(value, 0), MOST) for value in values])


def _pixel_steps(facts: TaskFacts) -> int:
    return min(_sum([facts.pixels]) * _sum([facts.steps]), MOST)
