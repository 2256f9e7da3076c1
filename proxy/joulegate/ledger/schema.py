"""The file: its tables, and the checks before it is touched.

Amounts are integers with their unit in the name of the column; structs are kept as JSON beside them, so
that a person can read the file with any SQLite tool.
"""

import sqlite3
from pathlib import Path

from joulegate.errors import ConfigError

APPLICATION = 0x4A4C4754
"""SQLite's ``application_id`` of a ledger: the letters JLGT."""
VERSION = 1
"""SQLite's ``user_version``: the form of the tables below."""
CHECKED = 64 * 1024 * 1024
"""Files up to this many bytes are checked whole at start; larger ones would take seconds."""

TABLES = """
CREATE TABLE requests (
  id TEXT PRIMARY KEY, client_request_id TEXT, ended_ns INTEGER NOT NULL,
  task TEXT NOT NULL, work TEXT NOT NULL, model TEXT, upstream TEXT NOT NULL, tenant TEXT,
  outcome TEXT NOT NULL, method TEXT NOT NULL, energy_uj INTEGER, sigma_uj INTEGER, emissions_ug INTEGER,
  record TEXT NOT NULL
);
CREATE INDEX requests_by_end ON requests (ended_ns);
CREATE INDEX requests_by_client ON requests (client_request_id) WHERE client_request_id IS NOT NULL;
CREATE TABLE totals (
  task TEXT NOT NULL, work TEXT NOT NULL, model TEXT NOT NULL, upstream TEXT NOT NULL,
  outcome TEXT NOT NULL, tenant TEXT NOT NULL,
  requests INTEGER NOT NULL, energy_uj INTEGER NOT NULL, balance TEXT NOT NULL,
  PRIMARY KEY (task, work, model, upstream, outcome, tenant)
);
CREATE TABLE books (
  device TEXT PRIMARY KEY, counter_uj INTEGER NOT NULL, requests_uj INTEGER NOT NULL,
  idle_uj INTEGER NOT NULL, unattributed_uj INTEGER NOT NULL, books TEXT NOT NULL
);
CREATE TABLE readings (
  device TEXT PRIMARY KEY, t_ns INTEGER NOT NULL, counter_uj INTEGER NOT NULL, boot TEXT NOT NULL
);
CREATE TABLE budgets (
  budget TEXT NOT NULL, period_ns INTEGER NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (budget, period_ns)
);
"""

LATER = """
CREATE TABLE IF NOT EXISTS jobs (job TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (job, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_request ON jobs (id);
"""
"""What the first ledgers did not have: the server's ids of those requests that were jobs."""


def opened(path: str) -> sqlite3.Connection:
    """Return a connection for writing; a new file gets its tables. Raises ``ConfigError`` with the remedy."""
    try:
        connection = connect(path)
    except sqlite3.Error as problem:
        raise ConfigError(
            f"ledger.path: {path} cannot be opened ({problem}): make its folder writable "
            "or choose another file"
        ) from problem
    try:
        _prepare(connection, path)
    except sqlite3.Error as problem:
        connection.close()
        raise ConfigError(damaged(path, str(problem))) from problem
    except ConfigError:
        connection.close()
        raise
    return connection


def connect(path: str) -> sqlite3.Connection:
    """Return a plain connection in which every transaction is begun by hand."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)


def tune(connection: sqlite3.Connection) -> None:
    """Choose how commits reach the disk.

    In WAL mode NORMAL survives the death of the process whole; the loss of power may take the last
    commits but leaves the file consistent (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def check(connection: sqlite3.Connection, path: str) -> None:
    """Make sure that the file is a ledger that this version reads. Raises ``ConfigError``."""
    if _pragma(connection, "application_id") != APPLICATION:
        raise ConfigError(
            f"ledger.path: {path} is a database of something else: choose another file, it is left untouched"
        )
    if (version := _pragma(connection, "user_version")) != VERSION:
        raise ConfigError(
            f"ledger.path: {path} has the form {version}, this joulegate reads the form {VERSION}: "
            "use the version of joulegate that wrote it, or choose another file"
        )


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _create(connection)
    check(connection, path)
    connection.executescript(LATER)
    if path != ":memory:" and Path(path).stat().st_size <= CHECKED:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise ConfigError(damaged(path, verdict))
    tune(connection)


def _create(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; "
        f"PRAGMA user_version = {VERSION}; COMMIT;"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def damaged(path: str, reason: str) -> str:
    """Return the message for a file that cannot be used, with the remedy."""
    return (
        f"ledger.path: {path} cannot be used ({reason}): move it aside (mv '{path}' '{path}.damaged') to "
        "begin anew, or restore a copy; it is left untouched"
    )
