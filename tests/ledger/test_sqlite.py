"""The ledger survives what happens to machines: kill -9, a full disk, a second meter, a restart."""

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

import pytest

from joulegate.errors import ConfigError
from joulegate.ledger.reader import LedgerReader
from joulegate.ledger.rows import Batch, LedgerEntry, StoredReading
from joulegate.ledger.sqlite import Ledger
from joulegate.model import (
    BudgetCharge,
    Component,
    DeviceId,
    Outcome,
    RequestRecord,
    SpanId,
    WindowBooks,
)
from joulegate.units import Microjoules, Nanoseconds

Records, Books = Callable[..., RequestRecord], Callable[..., WindowBooks]
GPU = DeviceId("GPU-0")


def test_what_was_appended_is_there_after_a_restart(
    tmp_path: Path, make_record: Records, make_books: Books
) -> None:
    """Rows, sums, books, budgets and the last reading go on where they were."""
    path = tmp_path / "state" / "ledger.db"
    batch = Batch(
        entries=(LedgerEntry(make_record("a"), (BudgetCharge("day", Nanoseconds(0), 7),)),),
        books=(make_books(),),
        resets=((GPU, 2),),
        readings=(StoredReading(GPU, Nanoseconds(5), Microjoules(10), "boot"),),
    )
    for name in ("a", "c"):
        ledger = Ledger.open(path)
        ledger.start(lambda ids: None)
        ledger.append(batch)
        ledger.append(Batch(entries=(LedgerEntry(make_record(name)),)))
        ledger.close()
    reader = LedgerReader.open(path)
    assert (reader.count(), reader.totals()[0].requests, reader.charges()[0].amount) == (2, 2, 7)
    assert reader.readings() == list(batch.readings)
    (books,) = reader.books()
    assert (books.counter, books.resets, books.recorded, books.error()) == (20, 4, 14, 0)
    reader.close()


def test_a_request_is_settled_when_it_is_on_disk(
    ledger: Ledger, make_record: Records, tmp_path: Path
) -> None:
    """Gates may forget a request only after the commit; until then it is found in memory."""
    heard: list[SpanId] = []
    other = Ledger.open(tmp_path / "other.db")
    other.append(Batch(entries=(LedgerEntry(make_record("a", client_request_id="theirs")),)))
    assert (other.settled(SpanId("a")), heard) == (False, [])
    assert other.find("a") == other.find("theirs") == make_record("a", client_request_id="theirs")
    other.start(heard.extend)
    assert other.flush(10)
    assert other.settled(SpanId("a"))
    other.close()
    assert heard == ["a"]


_WRITER = """
import sys
from joulegate.ledger.sqlite import Ledger
from joulegate.ledger.rows import Batch, LedgerEntry
sys.path.insert(0, sys.argv[2])
from conftest import record, window
ledger = Ledger.open(sys.argv[1])
ledger.start(lambda ids: print(len(ids), flush=True))
number = int(sys.argv[3])
while True:
    entries = tuple(LedgerEntry(record(f"r{number + n}")) for n in range(3))
    ledger.append(Batch(entries=entries, books=(window(requests=21), )))
    number += 2  # the last one comes again
    ledger.flush(10)
"""


def test_kill_9_leaves_a_file_that_balances(tmp_path: Path, root: Path) -> None:
    """Whenever the process dies, rows, totals and books of a settlement are there together or not at all."""
    path = tmp_path / "ledger.db"
    for start in (0, 10_000):
        command = [sys.executable, "-c", _WRITER, str(path), str(root / "tests/ledger"), str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout
            for _ in range(40):
                assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    ledger = Ledger.open(path)
    (total,), (books,) = ledger.reader.totals(), ledger.reader.books()
    assert total.requests == ledger.reader.count() >= 150
    assert books.error() == 0
    assert books.recorded == sum(energy for _, _, energy in total.energy) == 7 * total.requests
    # Every batch but the first of a run brings two new requests and the energy of three.
    assert books.requests - books.recorded == 7 * (books.requests // 21 - 2)
    ledger.close()


_FULL = """
import resource, signal, sys
from joulegate.ledger.sqlite import Ledger
from joulegate.ledger.rows import Batch, LedgerEntry
sys.path.insert(0, sys.argv[2])
from conftest import record, window
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger.open(sys.argv[1])
ledger.start(lambda ids: None)
ledger.append(Batch(entries=(LedgerEntry(record("first")),)))
assert ledger.flush(10)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
for n in range(500):
    ledger.append(Batch(entries=(LedgerEntry(record(f"r{n}")),), books=(window(),)))
more = 0
while not ledger.status().write_errors: ledger.flush(0.01)
while ledger.status().write_errors < 2:
    ledger.append(Batch(books=(window(),)))
    ledger.append(Batch(entries=(LedgerEntry(record("while it fails")),)))
    more = more + 1
    ledger.flush(0.05)
assert ledger.status().backlog > 500, ledger.status()
assert ledger.find("r499") and ledger.find("while it fails"), "found while it waits"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert ledger.flush(20), ledger.status()
status = ledger.status()
assert (status.rows, status.backlog, status.dropped) == (502, 0, 0), status
(books,) = ledger.reader.books()
assert books.counter == 5000 + 10 * more and books.error() == 0, books
ledger.close()
"""


def test_a_full_disk_stops_nothing_and_heals(tmp_path: Path, root: Path) -> None:
    """Records wait in memory while the file cannot grow, and are written when it can; none is lost."""
    command = [sys.executable, "-c", _FULL, str(tmp_path / "ledger.db"), str(root / "tests/ledger")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("ledger.failed") + result.stderr.count("ledger.failed") == 1
    assert "ledger.recovered" in result.stdout


def test_a_second_meter_is_refused(ledger: Ledger) -> None:
    """Two writers would count each joule twice."""
    with pytest.raises(ConfigError, match="in use by another joulegate"):
        Ledger.open(ledger.path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The message has the path and the remedy."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"ledger\.path: .*choose another file"):
        Ledger.open(tmp_path / "file" / "ledger.db")


def test_energy_of_requests_that_a_crash_took_stays_in_the_sums(
    tmp_path: Path, make_record: Records, make_books: Books
) -> None:
    """After a crash the totals hold what was booked to requests: none of it is lost, none doubled."""
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    ledger.start(lambda ids: None)
    ledger.append(Batch(entries=(LedgerEntry(make_record("a")),), books=(make_books(20),)))
    ledger.close()
    for lost in (13, 0):
        ledger = Ledger.open(path)
        assert ledger.reconcile({GPU: Component.GPU}) == lost
        ledger.close()
    reader = LedgerReader.open(path)
    orphan = next(total for total in reader.totals() if total.outcome is Outcome.ORPHANED)
    assert (orphan.requests, sum(energy for _, _, energy in orphan.energy)) == (0, 13)
    assert (reader.books()[0].recorded, reader.books()[0].error()) == (20, 0)
    reader.close()


def test_a_ledger_in_memory_keeps_nothing_and_works(make_record: Records) -> None:
    """``:memory:`` takes and finds records like a file."""
    ledger, written = Ledger.open(":memory:"), Event()

    def hear(ids: Sequence[SpanId]) -> None:
        if ids:
            written.set()

    ledger.start(hear)
    ledger.append(Batch(entries=(LedgerEntry(make_record("a")),)))
    assert written.wait(10)
    assert ledger.settled(SpanId("a"))
    assert ledger.status().rows == 1
    ledger.close()


def test_old_requests_are_dropped_while_it_runs(tmp_path: Path, make_record: Records) -> None:
    """Single requests go at the age that the configuration says; the sums stay."""
    ledger = Ledger.open(tmp_path / "ledger.db", keep=Nanoseconds(10**9))
    ledger.start(lambda ids: None)
    ledger.append(Batch(entries=(LedgerEntry(make_record("a")),)))
    ledger.close()
    reader = LedgerReader.open(tmp_path / "ledger.db")
    assert (reader.count(), reader.totals()[0].requests) == (0, 1)
    reader.close()


def test_what_comes_during_a_failed_write_is_kept(tmp_path: Path, make_record: Records) -> None:
    """The backlog that failed and what was appended meanwhile wait together, and are found."""
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.append(Batch(entries=(LedgerEntry(make_record("a")),)))
    work = ledger._take()
    ledger.append(Batch(entries=(LedgerEntry(make_record("b")),)))
    assert [ledger.find(name) is not None for name in "ab"] == [True, True]
    ledger._put_back(work)
    assert [ledger.find(name) is not None for name in "ab"] == [True, True]
    assert ledger.status().backlog == 2
    ledger.close()


def test_a_disk_that_is_full_at_start_does_not_stop_the_start(
    tmp_path: Path, make_books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a crash left open is closed by a later start; until then the sums stay as they were."""
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.start(lambda ids: None)
    ledger.append(Batch(books=(make_books(5),)))
    ledger.close()
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger._connection.execute("PRAGMA query_only = ON")
    assert ledger.reconcile({}) == 0
    assert "ledger.failed" in capsys.readouterr().out
    ledger._connection.execute("PRAGMA query_only = OFF")
    assert ledger.reconcile({}) == 5
    ledger.close()
