"""Writes one backlog in one transaction: all of it, or nothing."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from joulegate.ledger.backlog import Backlog
from joulegate.ledger.rows import BooksTotal, LedgerEntry, StoredReading, recorded
from joulegate.model import Balance, BudgetCharge, DeviceId, Labels, RequestRecord, alike
from joulegate.units import Nanoseconds

MODELS = 1_000
"""Names of models that have totals of their own; what comes later adds up under ``other``."""
OTHER = "other"
PRUNED = 5_000
"""Rows dropped at a time, so that a commit stays short."""

_INSERT = """
INSERT OR IGNORE INTO requests (
  id, client_request_id, ended_ns, task, work, model, upstream, tenant, outcome, method,
  energy_uj, sigma_uj, emissions_ug, record
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_COLUMNS = Labels.__struct_fields__
_PLACES = ", ".join("?" * len(_COLUMNS))
_TOTAL = f"SELECT balance FROM totals WHERE ({', '.join(_COLUMNS)}) = ({_PLACES})"  # noqa: S608 (constant)
_SET_TOTAL = (
    f"INSERT OR REPLACE INTO totals ({', '.join(_COLUMNS)}, requests, energy_uj, balance) "  # noqa: S608 (constant)
    f"VALUES ({_PLACES}, ?, ?, ?)"
)


class BatchWriter:
    """Puts backlogs into the file. Used by one thread; raises ``sqlite3.Error`` with nothing written."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._models: set[str] | None = None
        self.refused = 0
        """Records that SQLite cannot hold, for example with a lone surrogate in a name."""

    def write(self, backlog: Backlog) -> int:
        """Commit everything in it; return the number of new rows of requests."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            new = self._insert(list(backlog.entries.values()))
            self._name_jobs(new)
            self._settle(new)
            self._book([*backlog.books.values(), *recorded(*(entry.record for entry in new))])
            self._read(backlog.readings.values())
            self._connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        return len(new)

    def add_balances(self, balances: Iterable[Balance], books: Iterable[BooksTotal]) -> None:
        """Commit sums that belong to no request, with the books that they come from."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._total(balances)
            self._book(books)
            self._connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise

    def prune(self, before: Nanoseconds) -> int:
        """Drop some single requests that ended before a wall-clock time; the sums stay."""
        oldest = "SELECT id FROM requests WHERE ended_ns < ? ORDER BY ended_ns LIMIT ?"
        self._connection.execute(f"DELETE FROM jobs WHERE id IN ({oldest})", (before, PRUNED))  # noqa: S608 (constant)
        cursor = self._connection.execute(f"DELETE FROM requests WHERE id IN ({oldest})", (before, PRUNED))  # noqa: S608 (constant)
        return cursor.rowcount

    def _insert(self, entries: list[LedgerEntry]) -> list[LedgerEntry]:
        """Insert rows; return entries that were not there. All at once costs half as much as one by one."""
        self._connection.execute("SAVEPOINT entries")
        if not self._insert_all(entries):
            self._connection.execute("ROLLBACK TO entries")
            entries = [entry for entry in entries if self._insert_one(entry.record)]
        self._connection.execute("RELEASE entries")
        return entries

    def _insert_all(self, entries: list[LedgerEntry]) -> bool:
        """Whether every one of them was inserted."""
        try:
            rows = self._connection.executemany(_INSERT, (_row(entry.record) for entry in entries))
        except (UnicodeError, OverflowError):
            return False
        return rows.rowcount == len(entries)

    def _insert_one(self, record: RequestRecord) -> bool:
        try:
            return self._connection.execute(_INSERT, _row(record)).rowcount == 1
        except (UnicodeError, OverflowError):
            # One such record must not keep all others from the disk.
            self.refused += 1
            return False

    def _name_jobs(self, entries: Sequence[LedgerEntry]) -> None:
        jobs = [(entry.record.job, entry.record.id) for entry in entries if entry.record.job]
        if jobs:
            self._connection.executemany("INSERT OR IGNORE INTO jobs VALUES (?, ?)", jobs)

    def _settle(self, entries: Sequence[LedgerEntry]) -> None:
        self._total(group.sums for group in alike(entry.record for entry in entries))
        self._charge(charge for entry in entries for charge in entry.charges)

    def _total(self, balances: Iterable[Balance]) -> None:
        for values, balance in _folded(self._bounded(balance) for balance in balances).items():
            found = self._connection.execute(_TOTAL, values).fetchone()
            total = msgspec.json.decode(found[0], type=Balance) + balance if found else balance
            energy = sum(part for _, _, part in total.energy)
            self._connection.execute(_SET_TOTAL, (*values, total.requests, energy, _json(total)))

    def _bounded(self, balance: Balance) -> Balance:
        if self._models is None:
            self._models = {
                model for (model,) in self._connection.execute("SELECT DISTINCT model FROM totals")
            }
        model = balance.model or ""
        if model not in self._models and len(self._models) >= MODELS:
            return msgspec.structs.replace(balance, model=OTHER)
        self._models.add(model)
        return balance

    def _charge(self, charges: Iterable[BudgetCharge]) -> None:
        self._connection.executemany(
            "INSERT INTO budgets VALUES (?, ?, ?) "
            "ON CONFLICT (budget, period_ns) DO UPDATE SET used = used + excluded.used",
            [(charge.budget, charge.period, charge.amount) for charge in charges],
        )

    def _book(self, totals: Iterable[BooksTotal]) -> None:
        for total in _books(totals):
            found = self._connection.execute(
                "SELECT books FROM books WHERE device = ?", (total.device,)
            ).fetchone()
            books = msgspec.json.decode(found[0], type=BooksTotal).merged(total) if found else total
            unattributed = sum(energy for _, energy in books.unattributed)
            self._connection.execute(
                "INSERT OR REPLACE INTO books VALUES (?, ?, ?, ?, ?, ?)",
                (books.device, books.counter, books.requests, books.idle, unattributed, _json(books)),
            )

    def _read(self, readings: Iterable[StoredReading]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?)",
            [(reading.device, reading.t, reading.counter, reading.boot) for reading in readings],
        )

    def _undo(self) -> None:
        self._models = None
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _row(record: RequestRecord) -> tuple[object, ...]:
    settled = record.settled
    return (
        record.id,
        record.client_request_id,
        record.started + record.duration,
        record.task.value,
        record.work.value,
        record.model,
        record.upstream,
        record.tenant,
        record.outcome.value,
        settled.method.value,
        settled.energy,
        settled.sigma,
        record.emissions.mass if record.emissions else None,
        _json(record),
    )


def _folded(balances: Iterable[Balance]) -> dict[tuple[str, ...], Balance]:
    """Return one sum for each set of labels."""
    sums: dict[tuple[str, ...], Balance] = {}
    for balance in balances:
        values = balance.values()
        sums[values] = sums[values] + balance if values in sums else balance
    return sums


def _books(totals: Iterable[BooksTotal]) -> list[BooksTotal]:
    sums: dict[DeviceId, BooksTotal] = {}
    for total in totals:
        sums[total.device] = sums[total.device].merged(total) if total.device in sums else total
    return list(sums.values())


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
