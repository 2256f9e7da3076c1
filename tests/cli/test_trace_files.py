"""The files of a trace appear whole, in order, and never in place of others."""

from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from joulegate.cli.trace_files import SAMPLES, SETUP, TRACE, trace_files
from joulegate.errors import ConfigError


def test_rows_are_sorted_by_time_and_keep_their_order_within(tmp_path: Path) -> None:
    """They come in the order in which requests end."""
    with trace_files(tmp_path / "new" / "folder") as files:
        for row in (b'{"t":3.0,"n":1}', b'{"t":1,"n":2}', b'{"n":3,"t":3.0}', b'{"t":0.5,"n":4}'):
            files.trace.add(row)
        files.samples.add(b'{"t":1}')
        files.setup = Raw(b'{"n_gpus":1}')
        files.keep()
    folder = tmp_path / "new" / "folder"
    numbers = [msgspec.json.decode(line)["n"] for line in (folder / TRACE).read_bytes().splitlines()]
    assert numbers == [4, 2, 1, 3]
    assert msgspec.json.decode((folder / SETUP).read_bytes()) == {"n_gpus": 1}
    assert sorted(path.name for path in folder.iterdir()) == sorted([TRACE, SAMPLES, SETUP])


def test_what_is_not_kept_goes_away(tmp_path: Path) -> None:
    """Half a trace is none."""
    with trace_files(tmp_path) as files:
        files.trace.add(b'{"t":1}')
        files.setup = Raw(b"{}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [TRACE, SAMPLES, SETUP])
def test_a_trace_that_is_there_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """Not at the start, and not if it came in the meantime."""
    with trace_files(tmp_path) as files:
        files.setup = Raw(b"{}")
        (tmp_path / name).write_text("mine")
        with pytest.raises(ConfigError, match=f"{name} is there already"):
            files.keep()
    with pytest.raises(ConfigError, match="name another folder"), trace_files(tmp_path):
        pass
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With the reason."""
    (tmp_path / "file").write_text("")
    says = pytest.raises(ConfigError, match="file/folder cannot be written: Not a directory")
    with says, trace_files(tmp_path / "file" / "folder"):
        pass


def test_a_row_without_a_time_is_refused(tmp_path: Path) -> None:
    """It has no place in the order."""
    with trace_files(tmp_path) as files, pytest.raises(msgspec.DecodeError):
        files.trace.add(b'{"n":1}')
