"""A file that is not ours is never touched."""

import sqlite3
from pathlib import Path

import pytest

from joulegate.errors import ConfigError
from joulegate.ledger.schema import VERSION, opened


def refused(path: Path, says: str) -> None:
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=says):
        opened(str(path)).close()
    assert path.read_bytes() == before


def test_a_new_file_can_be_opened_again(tmp_path: Path) -> None:
    """The second start finds what the first one made."""
    opened(str(tmp_path / "l.db")).close()
    connection = opened(str(tmp_path / "l.db"))
    assert connection.execute("SELECT count(*) FROM requests").fetchone() == (0,)
    connection.close()


def test_a_file_from_before_there_were_jobs_gets_their_table(tmp_path: Path) -> None:
    """It is a ledger of the same form, with one thing more to look up."""
    path = str(tmp_path / "l.db")
    connection = opened(path)
    connection.execute("DROP TABLE jobs")
    connection.close()
    connection = opened(path)
    assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    connection.close()


def test_a_file_of_another_version_names_both(tmp_path: Path) -> None:
    """A newer form is refused with the remedy, and left as it is."""
    path = tmp_path / "l.db"
    connection = opened(str(path))
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    refused(path, f"has the form {VERSION + 1}, this joulegate reads the form {VERSION}: use the version")


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    """A wrong path in the configuration destroys nothing."""
    path = tmp_path / "l.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    refused(path, "is a database of something else")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Text, a picture or a torn head gets a message with the command that helps."""
    path = tmp_path / "l.db"
    path.write_bytes(b"hello" * 1000)
    refused(path, r"not a database.*mv '.*' '.*\.damaged'")


def test_a_damaged_page_is_found_at_start(tmp_path: Path) -> None:
    """A flipped page does not wait for the first unlucky query."""
    path = tmp_path / "l.db"
    connection = opened(str(path))
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)
    refused(path, "move it aside")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """The message says what could not be opened."""
    with pytest.raises(ConfigError, match="cannot be opened"):
        opened(str(tmp_path / "none" / "l.db"))
