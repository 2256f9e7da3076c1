"""One backlog is one transaction, and every request counts once."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.ledger.backlog import Backlog
from joulegate.ledger.reader import LedgerReader
from joulegate.ledger.rows import Batch, LedgerEntry
from joulegate.ledger.schema import opened
from joulegate.ledger.writer import MODELS, BatchWriter
from joulegate.model import BudgetCharge, RequestRecord, WindowBooks
from joulegate.units import Nanoseconds

Records, Books = Callable[..., RequestRecord], Callable[..., WindowBooks]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = opened(str(tmp_path / "l.db"))
    yield connection
    connection.close()


def backlog(*batches: Batch) -> Backlog:
    found = Backlog()
    for batch in batches:
        found.add(batch)
    return found


def test_a_request_that_comes_again_counts_once(file: sqlite3.Connection, make_record: Records) -> None:
    """Rows, totals, books and budgets ignore an id that is already there."""
    entry = LedgerEntry(make_record("a"), (BudgetCharge("day", Nanoseconds(0), 7),))
    writer, reader = BatchWriter(file), LedgerReader(file)
    assert writer.write(backlog(Batch(entries=(entry,)))) == 1
    assert writer.write(backlog(Batch(entries=(entry,)))) == 0
    (total,), (books,), (charge,) = reader.totals(), reader.books(), reader.charges()
    assert (total.requests, books.recorded, charge.amount) == (1, 7, 7)


@given(st.lists(st.lists(st.integers(0, 20), max_size=5), max_size=8))
def test_totals_are_the_sums_over_distinct_requests(make_record: Records, batches: list[list[int]]) -> None:
    """Whatever the batches repeat, totals equal the sum over the rows."""
    connection = opened(":memory:")
    writer = BatchWriter(connection)
    for batch in batches:
        writer.write(backlog(Batch(entries=tuple(LedgerEntry(make_record(f"r{n}", n)) for n in batch))))
    distinct = {n for batch in batches for n in batch}
    totals = LedgerReader(connection).totals()
    assert sum(total.requests for total in totals) == len(distinct)
    assert sum(energy for total in totals for _, _, energy in total.energy) == sum(distinct)
    connection.close()


def test_a_failure_writes_nothing(file: sqlite3.Connection, make_record: Records, make_books: Books) -> None:
    """If one statement fails, rows and books stay as they were before the batch."""
    writer = BatchWriter(file)
    file.execute("CREATE TRIGGER fail BEFORE INSERT ON books BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(sqlite3.Error):
        writer.write(backlog(Batch(entries=(LedgerEntry(make_record("a")),), books=(make_books(),))))
    file.execute("DROP TRIGGER fail")
    assert LedgerReader(file).count() == 0
    writer.write(backlog(Batch(entries=(LedgerEntry(make_record("a")),), books=(make_books(),))))
    assert (LedgerReader(file).count(), LedgerReader(file).books()[0].error()) == (1, 0)


def test_a_record_that_cannot_be_written_holds_up_no_other(
    file: sqlite3.Connection, make_record: Records
) -> None:
    """A lone surrogate or a number beyond 64 bits costs its own row only."""
    writer = BatchWriter(file)
    entries = (
        LedgerEntry(make_record("a", model="\ud800")),
        LedgerEntry(make_record("b", duration=Nanoseconds(2**70))),
        LedgerEntry(make_record("c")),
    )
    assert writer.write(backlog(Batch(entries=entries))) == 1
    assert (writer.refused, LedgerReader(file).has(entries[2].record.id)) == (2, True)


def test_a_flood_of_model_names_has_bounded_totals(file: sqlite3.Connection, make_record: Records) -> None:
    """Names beyond the bound add up under one; the sum of requests is kept."""
    entries = tuple(LedgerEntry(make_record(f"r{n}", model=f"m{n}")) for n in range(MODELS + 50))
    BatchWriter(file).write(backlog(Batch(entries=entries)))
    totals = LedgerReader(file).totals()
    assert len(totals) == MODELS + 1
    assert sum(total.requests for total in totals) == MODELS + 50


def test_old_rows_go_and_the_sums_stay(file: sqlite3.Connection, make_record: Records) -> None:
    """Single requests have an age limit; totals have none."""
    writer, reader = BatchWriter(file), LedgerReader(file)
    entries = (
        LedgerEntry(make_record("old", started=Nanoseconds(0), job="7f")),
        LedgerEntry(make_record("new", started=Nanoseconds(10**9))),
    )
    writer.write(backlog(Batch(entries=entries)))
    assert writer.prune(Nanoseconds(10**9)) == 1
    assert (reader.count(), reader.totals()[0].requests) == (1, 2)
    assert file.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
