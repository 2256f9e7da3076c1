"""What is not written yet, in memory and within a bound. Pure."""

from collections.abc import Iterable
from itertools import islice

from joulegate.ledger.rows import Batch, BooksTotal, LedgerEntry, StoredReading
from joulegate.model import DeviceId, SpanId

LIMIT = 100_000
"""Records kept while the file cannot be written; about 200 MB at most."""


class Backlog:
    """Batches folded together; beyond the bound the oldest records go, the books stay exact."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.entries: dict[SpanId, LedgerEntry] = {}
        self.books: dict[DeviceId, BooksTotal] = {}
        self.readings: dict[DeviceId, StoredReading] = {}
        self.dropped = 0
        """Records that were given up for want of room."""
        self._limit = limit

    def add(self, batch: Batch) -> None:
        """Accept one batch."""
        self._enter(batch.entries)
        self._book(BooksTotal(device=books.device).plus(books) for books in batch.books)
        self._book(BooksTotal(device=device, resets=resets) for device, resets in batch.resets)
        self._book(BooksTotal(device=device, idle_power=power) for device, power in batch.idle_power)
        self.readings.update((reading.device, reading) for reading in batch.readings)

    def absorb(self, later: "Backlog") -> None:
        """Accept all of a backlog that was filled after this one."""
        self._enter(later.entries.values())
        self._book(later.books.values())
        self.readings |= later.readings
        self.dropped += later.dropped

    def __len__(self) -> int:
        return len(self.entries)

    def __bool__(self) -> bool:
        return bool(self.entries or self.books or self.readings)

    def _enter(self, entries: Iterable[LedgerEntry]) -> None:
        for entry in entries:
            # The first figure stands: a final one never changes.
            self.entries.setdefault(entry.record.id, entry)
        excess = len(self.entries) - self._limit
        for id_ in list(islice(self.entries, max(excess, 0))):
            del self.entries[id_]
            self.dropped += 1

    def _book(self, totals: Iterable[BooksTotal]) -> None:
        for total in totals:
            known = self.books.get(total.device)
            self.books[total.device] = known.merged(total) if known else total
