"""Prometheus: counters of settled figures and the meter's status on one page."""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector
from prometheus_client.registry import Collector

from joulegate.model import Alike, Balance, DeviceId, MeterStatus, Outcome, RequestRecord, Share, WindowBooks
from joulegate.units import Micrograms, Microjoules
from joulegate_exporters._status import gpu_labels, samples
from joulegate_exporters._tally import Buckets, Counts, Masses, Parts, Tally, by_class, folded
from joulegate_exporters._text import OPENMETRICS, TEXT, Renderer, library_page, negotiate


class Frozen(Struct, frozen=True):
    """All figures at one instant."""

    status: MeterStatus
    counters: dict[str, Counts]
    histograms: dict[str, Buckets]
    process: tuple[Metric, ...]
    """Families of prometheus-client's collectors: ``process_*`` and ``python_*`` of the meter."""

    def collect(self) -> Iterable[Metric]:
        """Return the families of the process, as prometheus-client's writers ask for them."""
        return self.process


def process_collectors() -> Collector:
    """Return prometheus-client's collectors of this process and of its garbage collection."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Plugin:
    """Exporter for Prometheus and everything that reads its formats.

    ``process`` collects what stands on the page beside joulegate's own families.
    """

    content_types: Sequence[str] = (TEXT, OPENMETRICS)

    def __init__(self, process: Collector | None = None) -> None:
        self._process = process if process is not None else process_collectors()
        self._tally = Tally()
        self._unbalanced: dict[DeviceId, int] = {}
        self._gates = _Gates()
        self._renderer = Renderer()

    def restore(self, balances: Iterable[Balance]) -> None:
        """Open the counters with what the ledger kept; the largest take the first label places.

        A balance of no request begins the series of one that comes.
        """
        for balance in sorted(balances, key=lambda balance: -balance.requests):
            self._tally.add(balance)

    def settled(self, record: RequestRecord) -> None:
        """Accept one final record."""
        self._tally.records(Alike(record.balance(), [record]))

    def settled_together(self, groups: Sequence[Alike]) -> None:
        """Accept final records by their words, with their sums."""
        # Refused ones last: their names take no place, so they must find those of the others.
        for group in sorted(groups, key=lambda group: group.sums.outcome is Outcome.CLIENT_ERROR):
            self._tally.records(group)

    def booked(self, books: WindowBooks) -> None:
        """Check the books of one closed window; their sums come with the status."""
        wrong = int(books.error() != 0)
        self._unbalanced[books.device] = self._unbalanced.get(books.device, 0) + wrong

    def freeze(self, status: MeterStatus) -> Frozen:
        """Return an immutable copy of all figures."""
        self._tally.expect(_parts(status), _masses(status))
        counters = {name: counts.copy() for name, counts in self._tally.counters.items()}
        counters["label_overflow_total"] = self._tally.overflows()
        counters["unbalanced_windows_total"] = self._unbalanced_by_gpu(status)
        counters["model_info"] = self._tally.model_kinds(status.totals)
        counters |= self._gates.counters(status)
        histograms = {
            name: {labels: observed.copy() for labels, observed in buckets.items()}
            for name, buckets in self._tally.histograms.items()
        }
        return Frozen(status, counters, histograms, tuple(self._process.collect()))

    def render(self, frozen: object, accept: str) -> tuple[bytes, str]:
        """Return the page in the format that the scraper prefers."""
        if not isinstance(frozen, Frozen):
            raise TypeError(f"render takes what freeze gave, not {type(frozen).__name__}")
        content_type = negotiate(accept)
        more = library_page(frozen, content_type)
        page = self._renderer.page(_counts(frozen), frozen.histograms, content_type, more=more)
        return page, content_type

    def _unbalanced_by_gpu(self, status: MeterStatus) -> Counts:
        devices = [device.device for device in status.devices]
        return {
            (gpu,): self._unbalanced.get(device.id, 0)
            for gpu, device in zip(gpu_labels(devices), devices, strict=True)
        }


class _Gates:
    """Sums over gates that come and go: each counts from zero again, the sums never fall."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int, int]] = {}
        self._dropped = 0
        self._failures = 0
        self._ignored = 0

    def counters(self, status: MeterStatus) -> dict[str, Counts]:
        for gate in status.gates:
            dropped, failures, ignored = self._last.get(gate.id, (0, 0, 0))
            self._dropped += _rise(dropped, gate.dropped_events)
            self._failures += _rise(failures, gate.parse_failures)
            self._ignored += _rise(ignored, gate.ignored_parts)
            self._last[gate.id] = (gate.dropped_events, gate.parse_failures, gate.ignored_parts)
        return {
            "channel_dropped_events_total": {(): self._dropped},
            "observer_parse_failures_total": {(): self._failures},
            "channel_ignored_parts_total": {
                ("gate",): self._ignored,
                ("meter",): status.channel.ignored_parts,
            },
        }


def _parts(status: MeterStatus) -> Parts:
    """Return the energies that a record will have, at zero: as ``RequestRecord.shares`` would split them."""
    components = sorted({one.device.component for one in status.devices})
    split = len(components) == 1 and all(one.idle_power is not None for one in status.devices)
    shares = (Share.ACTIVE, Share.IDLE) if split else (Share.UNSPLIT,)
    return tuple((component, share, Microjoules(0)) for component in components for share in shares)


def _masses(status: MeterStatus) -> Masses:
    return ((status.carbon.basis, Micrograms(0)),) if status.carbon else ()


def _rise(before: int, now: int) -> int:
    return now - before if now >= before else now


def _counts(frozen: Frozen) -> dict[str, Counts]:
    """Return all plain samples by family; the headline families are folds of the detailed ones."""
    counts = dict(frozen.counters)
    counts["energy_kwh_total"] = folded(counts["energy_joules_total"], keep=2)
    counts["work_energy_joules_total"] = by_class(counts["energy_joules_total"])
    counts["co2e_kilograms_total"] = folded(counts["co2e_grams_total"], keep=2)
    for name, labels, value in samples(frozen.status):
        counts.setdefault(name, {})[labels] = value
    return counts
