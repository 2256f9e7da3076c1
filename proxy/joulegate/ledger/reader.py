"""Reads a ledger, also while a meter writes it."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import msgspec

from joulegate.errors import ConfigError, LedgerUnavailable
from joulegate.ledger.rows import BooksTotal, StoredReading
from joulegate.ledger.schema import check
from joulegate.model import Balance, BudgetCharge, DeviceId, ReportRow, RequestRecord, SpanId
from joulegate.units import Micrograms, Microjoules, Microwatts, Nanoseconds

_T = TypeVar("_T")

_FINDS = (
    "id = ?",
    "client_request_id = ? ORDER BY ended_ns DESC LIMIT 1",
    "id IN (SELECT id FROM jobs WHERE job = ?) ORDER BY ended_ns DESC LIMIT 1",
)

GROUPS = ("task", "model", "upstream", "tenant", "outcome")
"""Words by which a report may group."""

# Two passes, because the sum of squares of microjoules would lose the digits that a deviation needs.
_REPORT = """
WITH chosen AS (
  SELECT {columns}, energy_uj AS energy, emissions_ug AS emissions, method,
         outcome = 'ok' AND energy_uj IS NOT NULL AS good
  FROM requests WHERE work = 'inference' AND ended_ns >= :since AND ended_ns < :until
), means AS (
  SELECT {columns}, avg(energy) AS mean FROM chosen WHERE good GROUP BY {columns}
)
SELECT {chosen}, total(good), count(*) - total(good), coalesce(sum(energy), 0), mean,
       total(CASE WHEN good THEN (energy - mean) * (energy - mean) END), sum(emissions),
       avg(CASE WHEN good THEN emissions END), group_concat(DISTINCT method)
FROM chosen LEFT JOIN means ON {same} GROUP BY {chosen} ORDER BY {chosen}
"""


class LedgerReader:
    """Read access. Methods block for the time of a query; ``LedgerUnavailable`` if the file fails."""

    def __init__(
        self, connection: sqlite3.Connection, lock: AbstractContextManager[object] | None = None
    ) -> None:
        self._connection = connection
        self._lock = lock or Lock()

    @classmethod
    def open(cls, path: Path | str) -> "LedgerReader":
        """Open a file that only is read. Raises ``ConfigError`` if it is no ledger."""
        if not Path(path).is_file():
            raise ConfigError(f"ledger: there is no file {path}")
        try:
            connection = sqlite3.connect(
                f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=5
            )
            connection.execute("PRAGMA query_only = ON")
            check(connection, str(path))
        except sqlite3.Error as problem:
            raise ConfigError(f"ledger: {path} cannot be read ({problem})") from problem
        return cls(connection)

    def has(self, id_: SpanId) -> bool:
        """Whether the final figure of a request is written."""
        return bool(self._rows("SELECT 1 FROM requests WHERE id = ?", (id_,)))

    def find(self, id_: str) -> RequestRecord | None:
        """Return a request by its own id, or the latest one by the id of its client or of its job."""
        for condition in _FINDS:
            for (record,) in self._rows(f"SELECT record FROM requests WHERE {condition}", (id_,)):  # noqa: S608 (constant)
                return _record(record)
        return None

    def totals(self) -> list[Balance]:
        """Return the sums over all final records, also over those whose rows were dropped."""
        rows = self._rows("SELECT balance FROM totals ORDER BY requests DESC")
        return [msgspec.json.decode(balance, type=Balance) for (balance,) in rows]

    def books(self) -> list[BooksTotal]:
        """Return the books of every device."""
        rows = self._rows("SELECT books FROM books ORDER BY device")
        return [msgspec.json.decode(books, type=BooksTotal) for (books,) in rows]

    def idle_power(self) -> dict[DeviceId, Microwatts]:
        """Return the idle power of every device for which one was learned."""
        return {books.device: books.idle_power for books in self.books() if books.idle_power is not None}

    def readings(self) -> list[StoredReading]:
        """Return up to where the books of every device go."""
        rows = self._rows("SELECT device, t_ns, counter_uj, boot FROM readings")
        return [StoredReading(DeviceId(d), Nanoseconds(t), Microjoules(c), boot) for d, t, c, boot in rows]

    def charges(self) -> list[BudgetCharge]:
        """Return what every budget was charged in every period."""
        rows = self._rows("SELECT budget, period_ns, used FROM budgets ORDER BY period_ns")
        return [BudgetCharge(budget, Nanoseconds(period), used) for budget, period, used in rows]

    def count(self) -> int:
        """Return the number of single requests."""
        ((count,),) = self._rows("SELECT count(*) FROM requests")
        return int(count)

    def report(
        self, since: Nanoseconds, until: Nanoseconds, by: Sequence[str] = ("task", "model")
    ) -> list[ReportRow]:
        """Return inference requests that ended within ``[since, until)`` of the wall clock, by group.

        Raises ``ConfigError`` for an unknown word. Requests older than ``keep_requests`` are in the totals
        only.
        """
        if unknown := [word for word in by if word not in GROUPS]:
            raise ConfigError(f"by: {unknown[0][:60]!r} is none of {', '.join(GROUPS)}")
        words = list(dict.fromkeys(by)) or ["task"]
        query = _REPORT.format(
            columns=", ".join(words),
            chosen=", ".join(f"chosen.{word}" for word in words),
            same=" AND ".join(f"chosen.{word} IS means.{word}" for word in words),
        )
        rows = self._rows(query, {"since": since, "until": until})
        return [_report_row(words, row) for row in rows]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _rows(self, query: str, arguments: Any = ()) -> list[tuple[Any, ...]]:
        return self._asked(lambda: self._connection.execute(query, arguments).fetchall())

    def _asked(self, ask: Callable[[], _T]) -> _T:
        try:
            with self._lock:
                return ask()
        except sqlite3.Error as problem:
            raise LedgerUnavailable(f"the ledger cannot be read: {problem}") from problem


def _record(text: str) -> RequestRecord:
    return msgspec.json.decode(text, type=RequestRecord)


def _report_row(words: Sequence[str], row: tuple[Any, ...]) -> ReportRow:
    names, (good, others, energy, mean, squares, emissions, mean_emissions, methods) = (
        row[: len(words)],
        row[len(words) :],
    )
    return ReportRow(
        group=tuple((word, name or "") for word, name in zip(words, names, strict=True)),
        requests=int(good),
        others=int(others),
        energy=Microjoules(energy),
        mean=mean,
        deviation=(squares / (good - 1)) ** 0.5 if good > 1 else None,
        emissions=None if emissions is None else Micrograms(emissions),
        mean_emissions=mean_emissions,
        methods=tuple(sorted(methods.split(","))),
    )
