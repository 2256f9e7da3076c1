"""What waits is bounded and loses no energy."""

from collections.abc import Callable

from joulegate.ledger.backlog import Backlog
from joulegate.ledger.rows import Batch, LedgerEntry, StoredReading
from joulegate.model import DeviceId, RequestRecord, WindowBooks
from joulegate.units import Microjoules, Nanoseconds

Records, Books = Callable[..., RequestRecord], Callable[..., WindowBooks]


def test_the_first_final_figure_of_a_request_stands(make_record: Records) -> None:
    """A second record with the same id changes nothing."""
    backlog = Backlog()
    backlog.add(Batch(entries=(LedgerEntry(make_record("a", 1)), LedgerEntry(make_record("a", 2)))))
    assert [entry.record.settled.energy for entry in backlog.entries.values()] == [1]


def test_beyond_the_bound_the_oldest_records_go_and_are_counted(
    make_record: Records, make_books: Books
) -> None:
    """The newest are kept; the books hold the energy of all."""
    backlog = Backlog(limit=2)
    for name in "abc":
        backlog.add(Batch(entries=(LedgerEntry(make_record(name)),), books=(make_books(),)))
    assert (list(backlog.entries), backlog.dropped) == (["b", "c"], 1)
    assert backlog.books[DeviceId("GPU-0")].counter == 30


def test_a_failed_backlog_takes_what_came_later(make_record: Records, make_books: Books) -> None:
    """Order, sums and the latest readings survive a failure of the disk."""
    device = DeviceId("GPU-0")
    older, newer = Backlog(), Backlog()
    older.add(
        Batch(
            entries=(LedgerEntry(make_record("a")),),
            books=(make_books(),),
            readings=(StoredReading(device, Nanoseconds(1), Microjoules(1), "boot"),),
        )
    )
    newer.add(
        Batch(
            entries=(LedgerEntry(make_record("b")),),
            books=(make_books(),),
            resets=((device, 1),),
            readings=(StoredReading(device, Nanoseconds(2), Microjoules(2), "boot"),),
        )
    )
    older.absorb(newer)
    assert list(older.entries) == ["a", "b"]
    assert (older.books[device].counter, older.books[device].resets) == (20, 1)
    assert older.readings[device].t == 2


def test_an_empty_backlog_says_so(make_books: Books) -> None:
    """Books alone are worth a commit; nothing is not."""
    backlog = Backlog()
    assert not backlog
    backlog.add(Batch(books=(make_books(),)))
    assert backlog
    assert len(backlog) == 0
