"""The runtime directory is private, goes with its run, and what killed runs left goes with the next."""

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from joulegate.rundir import MARKER, PREFIX, run_directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directory_and_files_are_private_and_removed_at_the_end(tmp_path: Path) -> None:
    """Nobody else reads the configuration, and a finished run leaves nothing."""
    with closing(run_directory({"XDG_RUNTIME_DIR": str(tmp_path)})) as directory:
        file = directory.write("config.msgpack", b"{}")
        assert file.read_bytes() == b"{}"
        assert (mode(directory.path), mode(file)) == (0o700, 0o600)
        assert directory.path.parent == tmp_path
        with pytest.raises(FileExistsError):
            directory.write("config.msgpack", b"again")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runtime", ["", "relative", "/nowhere/at/all"])
def test_without_a_usable_runtime_directory_it_is_a_temporary_one(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers and su often have no runtime directory: joulegate starts all the same."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with closing(run_directory({"XDG_RUNTIME_DIR": runtime})) as directory:
        assert directory.path.parent == tmp_path


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(tmp_path: Path) -> None:
    """Kills do not fill the disk, and two runs of one user do not disturb each other."""
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / "config.msgpack").write_text("{}")
    (left / MARKER).touch()
    foreign = tmp_path / f"{PREFIX}notes"
    foreign.mkdir()
    (foreign / "figures.csv").touch()
    with closing(run_directory(environment)) as first, closing(run_directory(environment)) as second:
        assert not left.exists()
        assert first.path.exists()
        assert first.path != second.path
    assert [path.name for path in tmp_path.rglob("*")] == [foreign.name, "figures.csv"], (
        "a folder of the user's"
    )


def test_a_child_that_holds_the_lock_keeps_the_directory(tmp_path: Path) -> None:
    """Gates that drain after their supervisor was killed keep their socket."""
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    directory = run_directory(environment)
    inherited = os.dup(directory.lock)
    kept = directory.path / "meter.sock"
    kept.touch()
    with Path(os.devnull).open() as null:
        os.dup2(null.fileno(), directory.lock)  # the supervisor's own copy dies with it
    with closing(run_directory(environment)):
        assert kept.exists()
    os.close(inherited)
    with closing(run_directory(environment)):
        assert not kept.exists()
    directory.close()
