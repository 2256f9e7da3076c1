"""The durable record: one SQLite file, written by one thread, safe against the death of the process.

Every commit holds rows, totals, books and budgets of the same settlements, so the file's books balance at
every moment. While it cannot be written, batches wait in memory and nothing else stops.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Event, Lock, Thread

from joulegate import clock
from joulegate.errors import ConfigError, LedgerUnavailable
from joulegate.ledger.backlog import LIMIT, Backlog
from joulegate.ledger.reader import LedgerReader
from joulegate.ledger.rows import Batch, BooksTotal, unfinished
from joulegate.ledger.schema import connect, damaged, opened, tune
from joulegate.ledger.writer import BatchWriter
from joulegate.log import logger
from joulegate.model import Component, DeviceId, LedgerStatus, RequestRecord, SpanId
from joulegate.units import NANO, Microjoules, Nanoseconds

RETRY = 1.0
"""Seconds between attempts while the file cannot be written."""
SAID_EVERY = 60 * NANO
"""A failure that lasts is said once a minute."""
PRUNED_EVERY = 3_600 * NANO

Committed = Callable[[Sequence[SpanId]], None]


class Ledger:
    """The open ledger. Methods may be called from any thread; ``append`` never blocks on the disk."""

    def __init__(
        self, path: str, connection: sqlite3.Connection, lock_file: int | None, keep: Nanoseconds | None
    ) -> None:
        self.path = path
        self._connection = connection
        self._lock_file = lock_file
        self._keep = keep
        # A ledger in memory has one connection only; the lock keeps its reads and writes apart.
        self._exclusive = Lock()
        in_memory = path == ":memory:"
        self.reader = LedgerReader(connection, self._exclusive) if in_memory else LedgerReader.open(path)
        self._condition = Condition()
        self._backlog = Backlog(LIMIT)
        self._rows = self.reader.count()
        self._waiting_since: Nanoseconds | None = None
        self._writing = Backlog()
        self._errors = 0
        self._dropped = 0
        self._failing_said: Nanoseconds | None = None
        self._pruned: Nanoseconds | None = None
        self._closing = Event()
        self._thread: Thread | None = None
        self._committed: Committed = _nobody

    @classmethod
    def open(cls, path: Path | str, *, keep: Nanoseconds | None = None) -> "Ledger":
        """Open or begin a ledger; ``:memory:`` keeps nothing.

        Raises ``ConfigError`` with the remedy for a file that is another program's, damaged, of another
        version or in use by another meter. Such a file is never changed.
        """
        path = str(path)
        lock_file = None if path == ":memory:" else _locked(Path(path))
        try:
            connection = opened(path)
            ledger = cls(path, connection, lock_file, keep)
        except BaseException as problem:
            if lock_file is not None:
                os.close(lock_file)
            if isinstance(problem, LedgerUnavailable):
                raise ConfigError(damaged(path, str(problem))) from problem
            raise
        logger("ledger").info("ledger.opened", path=path, rows=ledger._rows)
        return ledger

    def reconcile(self, components: Mapping[DeviceId, Component]) -> Microjoules:
        """Close what a crash left open: energy booked to requests that no record holds.

        It goes into the totals as energy of no request (outcome ``orphaned``), so that the sum over the
        totals equals the books again. Call it before the first ``append``. Gives the amount.
        """
        lost = {
            books.device: Microjoules(energy)
            for books in self.reader.books()
            if (energy := books.requests - books.recorded) > 0
        }
        if not lost:
            return Microjoules(0)
        try:
            self._close_lost(components, lost)
        except sqlite3.Error as problem:
            # The disk may be full at this moment: the next start tries again.
            self._failed(problem)
            return Microjoules(0)
        return Microjoules(sum(lost.values()))

    def _close_lost(
        self, components: Mapping[DeviceId, Component], lost: Mapping[DeviceId, Microjoules]
    ) -> None:
        with self._exclusive:
            BatchWriter(self._connection).add_balances(
                [
                    unfinished(components.get(device, Component.GPU), energy)
                    for device, energy in lost.items()
                ],
                [BooksTotal(device=device, recorded=energy) for device, energy in lost.items()],
            )

    def start(self, committed: Committed) -> None:
        """Begin to write. ``committed`` hears, on the writer's thread, which requests are on disk."""
        self._committed = committed
        self._thread = Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def append(self, batch: Batch) -> None:
        """Accept one batch, to be written as soon as the disk lets."""
        with self._condition:
            if self._waiting_since is None:
                self._waiting_since = clock.monotonic()
            self._backlog.add(batch)
            self._condition.notify()

    def settled(self, id_: SpanId) -> bool:
        """Whether the final figure of a request is on disk."""
        try:
            return self.reader.has(id_)
        except LedgerUnavailable:
            return False

    def find(self, id_: str) -> RequestRecord | None:
        """Return a final record by its own id, its client's or its job's; also one not on disk yet."""
        with self._condition:
            waiting = [*self._writing.entries.values(), *self._backlog.entries.values()]
        for entry in reversed(waiting):
            if id_ in (entry.record.id, entry.record.client_request_id, entry.record.job):
                return entry.record
        return self.reader.find(id_)

    def status(self) -> LedgerStatus:
        """Return its health."""
        with self._condition:
            since = self._waiting_since
            return LedgerStatus(
                path=self.path,
                rows=self._rows,
                backlog=len(self._backlog) + len(self._writing),
                write_errors=self._errors,
                dropped=self._dropped + self._backlog.dropped,
                lag=Nanoseconds(0 if since is None else clock.monotonic() - since),
            )

    def flush(self, seconds: float) -> bool:
        """Wait until all is written; ``False`` if it is not after that time."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._backlog and not self._writing, seconds)

    def close(self, seconds: float = 10) -> None:
        """Write what waits, if the disk lets, and let go of the file."""
        if self._thread:
            self.flush(seconds)
            self._closing.set()
            with self._condition:
                self._condition.notify()
            self._thread.join(seconds)
        self.reader.close()
        with suppress(sqlite3.Error):
            self._connection.close()
        if self._lock_file is not None:
            os.close(self._lock_file)

    def _run(self) -> None:
        while not self._closing.is_set():
            work = self._take()
            if self._written(work):
                self._prune()
            else:
                self._put_back(work)
                self._closing.wait(RETRY)

    def _take(self) -> Backlog:
        with self._condition:
            self._condition.wait_for(lambda: self._backlog or self._closing.is_set(), timeout=60)
            work, self._backlog = self._backlog, Backlog(LIMIT)
            self._writing = work
            return work

    def _put_back(self, work: Backlog) -> None:
        with self._condition:
            work.absorb(self._backlog)
            self._backlog, self._writing = work, Backlog()

    def _written(self, work: Backlog) -> bool:
        try:
            with self._exclusive:
                writer = BatchWriter(self._connection)
                new = writer.write(work) if work else 0
        except sqlite3.Error as problem:
            self._failed(problem)
            self._reconnect()
            return False
        self._succeeded(work, new, writer.refused)
        self._committed(list(work.entries))
        return True

    def _succeeded(self, work: Backlog, new: int, refused: int) -> None:
        with self._condition:
            self._rows += new
            self._writing = Backlog()
            self._dropped += work.dropped + refused
            self._waiting_since = clock.monotonic() if self._backlog else None
            self._condition.notify_all()
        if self._failing_said is not None:
            self._failing_said = None
            logger("ledger").info("ledger.recovered", path=self.path, records=len(work))

    def _failed(self, problem: sqlite3.Error) -> None:
        self._errors += 1
        now = clock.monotonic()
        if self._failing_said is None or now - self._failing_said >= SAID_EVERY:
            self._failing_said = now
            logger("ledger").error(
                "ledger.failed",
                path=self.path,
                reason=str(problem),
                remedy="free space or repair the file system; records wait in memory, traffic goes on",
            )

    def _reconnect(self) -> None:
        if self.path == ":memory:":
            return
        # A connection that saw an I/O error may hold on to it; a fresh one sees the file as it is.
        with self._exclusive, suppress(sqlite3.Error):
            fresh = connect(self.path)
            tune(fresh)
            self._connection.close()
            self._connection = fresh

    def _prune(self) -> None:
        now = clock.monotonic()
        if self._keep is None or (self._pruned is not None and now - self._pruned < PRUNED_EVERY):
            return
        try:
            with self._exclusive:
                dropped = BatchWriter(self._connection).prune(Nanoseconds(clock.wall() - self._keep))
        except sqlite3.Error as problem:
            self._failed(problem)
            return
        with self._condition:
            self._rows -= dropped
        if not dropped:
            self._pruned = now


def _nobody(ids: Sequence[SpanId]) -> None:
    """Stand in until someone wants to hear."""


def _locked(path: Path) -> int:
    """Make sure that no other meter writes the file; the kernel frees the lock when the process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise ConfigError(
            f"ledger.path: {path} cannot be written ({problem.strerror}): make its folder writable, "
            "or choose another file"
        ) from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(descriptor)
        raise ConfigError(
            f"ledger.path: {path} is in use by another joulegate: stop it, or choose another file"
        ) from problem
    return descriptor
