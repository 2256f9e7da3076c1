"""Where settlements go: budgets, sums, exporters and the ledger, each once and all the same."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from joulegate.budgets.windows import Budgets
from joulegate.ledger.rows import Batch, LedgerEntry
from joulegate.ledger.sqlite import Ledger
from joulegate.log import logger
from joulegate.meter.requests.settlement import Settlements
from joulegate.meter.totals.totals import DeviceTotals, Totals
from joulegate.model import Balance, Device, DeviceId, Labels, SpanClosed, SpanOpened, alike
from joulegate.ports import Continuous, DeviceHealth, Exporter, Summing
from joulegate.units import Microwatts

SERIES = 10_000
"""Sets of labels that are begun at zero; exporters have bounds of their own far below."""
NOTABLE = 0.02
"""Change of idle power, as part of it, that is worth writing down."""


class Results:
    """All sums of the meter, and those who hear of what is added to them."""

    def __init__(
        self,
        ledger: Ledger,
        budgets: Budgets,
        exporters: Sequence[Exporter],
        model_kind: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.totals = Totals(model_kind)
        self.accounts = DeviceTotals()
        self.budgets = budgets
        self._ledger = ledger
        self._exporters = exporters
        self._begun: set[Labels] = set()
        self._resets: dict[DeviceId, int] = {}
        self._log = logger("meter")

    def restore(self, devices: Iterable[Device]) -> None:
        """Open all sums with what the ledger kept."""
        lost = self._ledger.reconcile({device.id: device.component for device in devices})
        if lost:
            self._log.warning("books.reconciled", microjoules=lost)
        reader = self._ledger.reader
        balances = reader.totals()
        self._open_counters(balances)
        for balance in balances:
            self.totals.add(balance)
        self.accounts = DeviceTotals(reader.books())
        self.budgets.take(reader.charges())

    def take(self, new: Settlements, health: Mapping[DeviceId, DeviceHealth]) -> None:
        """Accept what one settlement brought, with what is known of the devices by now."""
        for window in new.unbalanced:
            self._log.error("books.unbalanced", device=window.device, missing_microjoules=window.error())
        self._book(new)
        entries = tuple(LedgerEntry(record, self.budgets.charges(record)) for record in new.records)
        self._enter(entries)
        if entries or new.books:
            self._ledger.append(
                Batch(
                    entries=entries,
                    books=new.books,
                    resets=self._new_resets(health),
                    idle_power=self._new_idle_power(health),
                    readings=new.readings,
                )
            )

    def begin_series(self, opened: SpanOpened, closed: SpanClosed, model: str | None) -> None:
        """Show new labels at zero before their first energy, so that a rate sees all of it."""
        labels = Labels(
            task=opened.task,
            work=opened.work_in(closed.facts),
            model=model,
            upstream=opened.upstream,
            outcome=closed.outcome,
            tenant=opened.tenant,
        )
        if labels in self._begun or len(self._begun) >= SERIES:
            return
        self._begun.add(labels)
        self._open_counters([Balance.empty(labels)])

    def _book(self, new: Settlements) -> None:
        for window in new.books:
            self.accounts.add(window)
            for exporter in self._exporters:
                exporter.booked(window)

    def _enter(self, entries: Sequence[LedgerEntry]) -> None:
        groups = alike([entry.record for entry in entries])
        for entry in entries:
            self.budgets.take(entry.charges)
        for group in groups:
            self.totals.add(group.sums)
        for exporter in self._exporters:
            if isinstance(exporter, Summing):
                exporter.settled_together(groups)
            else:
                for entry in entries:
                    exporter.settled(entry.record)

    def _new_resets(self, health: Mapping[DeviceId, DeviceHealth]) -> tuple[tuple[DeviceId, int], ...]:
        found = [(device, one.resets - self._resets.get(device, 0)) for device, one in health.items()]
        new = tuple((device, times) for device, times in found if times)
        for device, times in new:
            self._resets[device] = self._resets.get(device, 0) + times
            self.accounts.reset(device, times)
        return new

    def _new_idle_power(
        self, health: Mapping[DeviceId, DeviceHealth]
    ) -> tuple[tuple[DeviceId, Microwatts], ...]:
        """Return what changed enough to be kept: a meter that starts under load cannot learn it anew."""
        new = []
        for device, one in health.items():
            before, now = self.accounts.of(device).idle_power, one.idle_power
            if now is not None and (before is None or abs(now - before) > NOTABLE * before):
                self.accounts.idles(device, now)
                new.append((device, now))
        return tuple(new)

    def _open_counters(self, balances: Sequence[Balance]) -> None:
        for exporter in self._exporters:
            if isinstance(exporter, Continuous):
                exporter.restore(balances)
