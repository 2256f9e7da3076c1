"""Integer sums over final records, by label values: the counters and histograms of requests."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from joulegate.model import Alike, Balance, Component, Outcome, Share, TaskTotals, WorkClass
from joulegate.units import Micrograms, Microjoules
from joulegate_exporters._labels import OTHER, Guard
from joulegate_exporters.catalogue import (
    DURATION_BOUNDS,
    ENERGY_BOUNDS,
    MODEL,
    OVERHEAD_BOUNDS,
    TENANT,
    UPSTREAM,
)

LabelValues = tuple[str, ...]
Counts = dict[LabelValues, int]
Buckets = dict[LabelValues, list[int]]
"""Observations by bucket, the one above the last bound included, and at the end their sum."""

Parts = tuple[tuple[Component, Share, Microjoules], ...]
"""Energy by component and share."""
Masses = tuple[tuple[str, Micrograms], ...]
"""Emissions by basis."""

COUNTERS = (
    "energy_joules_total", "co2e_grams_total", "tenant_energy_joules_total", "wasted_energy_joules_total",
    "requests_total", "unmeasured_requests_total", "tokens_total", "images_total", "pixel_steps_total",
)  # fmt: skip
HISTOGRAMS: Mapping[str, tuple[int, ...]] = {
    "request_energy_joules": ENERGY_BOUNDS,
    "request_duration_seconds": DURATION_BOUNDS,
    "proxy_overhead_seconds": OVERHEAD_BOUNDS,
}

CLIENT_LEFT = "client_left"
SERVER_WENT_ON = "server_went_on"
WASTE: Mapping[Outcome, str] = {
    Outcome.UPSTREAM_ERROR: "upstream_error",
    Outcome.UPSTREAM_TRUNCATED: "truncated",
    Outcome.UPSTREAM_REFUSED: "upstream_failed",
    Outcome.UPSTREAM_RESET: "upstream_failed",
    Outcome.UPSTREAM_TIMEOUT: "upstream_failed",
    Outcome.STREAM_IDLE_TIMEOUT: "upstream_failed",
    Outcome.UPSTREAM_PROTOCOL_ERROR: "upstream_failed",
    Outcome.ORPHANED: "orphaned",
}
"""Outcomes whose whole energy was for nothing, and why."""


class Tally:
    """All sums over requests. Additions only; a negative amount counts as nothing."""

    def __init__(self) -> None:
        self.counters: dict[str, Counts] = {name: {} for name in COUNTERS}
        self.histograms: dict[str, Buckets] = {name: {} for name in HISTOGRAMS}
        self._guards = {label.name: Guard(label.bound) for label in (MODEL, TENANT, UPSTREAM)}
        self._expected: tuple[Parts, Masses] = ((), ())
        for reason in (CLIENT_LEFT, SERVER_WENT_ON, *WASTE.values()):
            self._rise("wasted_energy_joules_total", (reason,), 0)

    def expect(self, parts: Parts, masses: Masses) -> None:
        """Learn which energies and emissions a coming record will have: zeros that begin its series."""
        self._expected = (parts, masses)

    def records(self, group: Alike) -> None:
        """Accept final records that share their words."""
        task, model = self.add(group.sums)
        for name, labels, values in (
            ("request_energy_joules", (task, model), [one.settled.energy for one in group.records]),
            ("request_duration_seconds", (task, model), [one.duration for one in group.records]),
            ("proxy_overhead_seconds", ("request",), [one.overhead_request for one in group.records]),
            ("proxy_overhead_seconds", ("response",), [one.overhead_response for one in group.records]),
        ):
            self._observe(name, labels, [max(value, 0) for value in values if value is not None])

    def add(self, balance: Balance) -> tuple[str, str]:
        """Add sums, and return the labels ``task`` and ``model`` under which they went."""
        beginning = not balance.requests
        if beginning:
            balance = self._begun(balance)
        task = task_label(balance)
        model = self._model(balance)
        if beginning:
            self._begin_histograms(task, model)
        upstream = self._guards["upstream"].admit(balance.upstream)
        self._rise("requests_total", (task, model, upstream, balance.outcome.value), balance.requests)
        self._rise("unmeasured_requests_total", (task, model), balance.unmeasured)
        self._add_energy(balance, task, model, upstream)
        self._add_work(balance, task, model)
        return task, model

    def overflows(self) -> Counts:
        """Return how often each label overflowed."""
        return {(label,): guard.overflows for label, guard in self._guards.items()}

    def model_kinds(self, totals: Iterable[TaskTotals]) -> Counts:
        """Return the kind of each model that has a label of its own and a known kind."""
        known = self._guards["model"].known
        kinds = {(known(row.model), row.model_kind): 1 for row in totals if row.model_kind}
        return {(model, kind): 1 for model, kind in kinds if model != OTHER}

    def _begun(self, balance: Balance) -> Balance:
        parts, masses = self._expected
        return replace(balance, energy=balance.energy or parts, emissions=balance.emissions or masses)

    def _begin_histograms(self, task: str, model: str) -> None:
        for name in ("request_energy_joules", "request_duration_seconds"):
            self._buckets(name, (task, model))

    def _model(self, balance: Balance) -> str:
        # What a server refused may be any name that a client made up: it takes no place of a real one.
        guard = self._guards["model"]
        name = balance.model or "unknown"
        return guard.known(name) if balance.outcome is Outcome.CLIENT_ERROR else guard.admit(name)

    def _add_energy(self, balance: Balance, task: str, model: str, upstream: str) -> None:
        if not balance.energy:
            return  # not known: no series, rather than one that says zero
        energy = 0
        for component, share, part in balance.energy:
            self._rise("energy_joules_total", (task, model, upstream, component.value, share.value), part)
            energy += part
        tenant = self._guards["tenant"].admit(balance.tenant or "none")
        self._rise("tenant_energy_joules_total", (tenant, task), energy)
        left = SERVER_WENT_ON if balance.outcome is Outcome.OVERRAN else CLIENT_LEFT
        self._rise("wasted_energy_joules_total", (left,), balance.wasted)
        if reason := WASTE.get(balance.outcome):
            self._rise("wasted_energy_joules_total", (reason,), energy - balance.wasted)
        for basis, mass in balance.emissions:
            self._rise("co2e_grams_total", (task, model, _basis(basis)), mass)

    def _add_work(self, balance: Balance, task: str, model: str) -> None:
        for direction, tokens in (
            ("input", balance.prompt_tokens),
            ("cached", balance.cached_prompt_tokens),
            ("output", balance.completion_tokens),
            ("reasoning", balance.reasoning_tokens),
        ):
            if tokens > 0:
                self._rise("tokens_total", (model, task, direction), tokens)
        if balance.images > 0:
            self._rise("images_total", (model, task), balance.images)
        if balance.pixel_steps > 0:
            self._rise("pixel_steps_total", (model,), balance.pixel_steps)

    def _rise(self, name: str, labels: LabelValues, amount: int) -> None:
        counts = self.counters[name]
        known = counts.get(labels, 0)
        counts[labels] = known + amount if amount > 0 else known

    def _observe(self, name: str, labels: LabelValues, values: Sequence[int]) -> None:
        if not values:
            return
        buckets, ranks, below = self._buckets(name, labels), sorted(values), 0
        for place, bound in enumerate(HISTOGRAMS[name]):
            until = bisect_right(ranks, bound, below)
            buckets[place] += until - below
            below = until
        buckets[-2] += len(ranks) - below
        buckets[-1] += sum(values)

    def _buckets(self, name: str, labels: LabelValues) -> list[int]:
        buckets = self.histograms[name].get(labels)
        if buckets is None:
            buckets = self.histograms[name][labels] = [0] * (len(HISTOGRAMS[name]) + 2)
        return buckets


def task_label(balance: Balance) -> str:
    """Return the task, or for work that is no inference its class."""
    return balance.task.value if balance.work is WorkClass.INFERENCE else balance.work.value


def by_class(counts: Mapping[LabelValues, int]) -> Counts:
    """Return sums by class of work over counts whose first label is ``task``."""
    sums: Counts = {(work.value,): 0 for work in WorkClass}
    for (task, *_), value in counts.items():
        work = task if (task,) in sums else WorkClass.INFERENCE.value
        sums[work,] += value
    return sums


def folded(counts: Mapping[LabelValues, int], *, keep: int) -> Counts:
    """Return sums over all labels but the first ``keep``."""
    sums: Counts = {}
    for labels, value in counts.items():
        key = labels[:keep]
        sums[key] = sums.get(key, 0) + value
    return sums


def bounded(counts: Sequence[tuple[str, int]], bound: int) -> Iterator[tuple[str, int]]:
    """Return pairs with clean and distinct names, at most ``bound``; the rest is summed under ``other``."""
    guard = Guard(bound)
    sums: dict[str, int] = {}
    for name, value in counts:
        label = guard.admit(name)
        sums[label] = sums.get(label, 0) + value
    yield from sums.items()


def _basis(basis: str) -> str:
    return basis if basis in ("location", "market") else OTHER
