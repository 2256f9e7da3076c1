"""The private directory of one running joulegate: its socket and its resolved configuration."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

PREFIX = "joulegate-run-"
CONFIG = "config.msgpack"
"""The checked configuration, for the processes of this run."""
PLAN = "plan.msgpack"
"""What the supervisor runs."""
SOCKET = "events.sock"
MARKER = "joulegate.run"
"""A file that only directories of this module hold: nothing else is ever swept away."""


class RunDirectory(Struct, frozen=True):
    """A directory with mode 0700 that is removed at the end."""

    path: Path
    lock: int
    """A descriptor to hand down to every child: the directory is in use while any of them holds it."""

    def write(self, name: str, content: bytes) -> Path:
        """Write a new file with mode 0600; return its path."""
        path = self.path / name
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(content)
        return path

    def close(self) -> None:
        """Remove it with all that is in it: this run has ended."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def run_directory(environment: Mapping[str, str]) -> RunDirectory:
    """Return a new directory under ``$XDG_RUNTIME_DIR``, or where temporary files go, for whoever closes it.

    What earlier runs left that were killed is removed. See
    https://specifications.freedesktop.org/basedir-spec/latest/.
    """
    base = _base(environment)
    _sweep(base)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    (path / MARKER).touch(mode=0o600)  # only now may another start look at it
    return RunDirectory(path, lock)


def _base(environment: Mapping[str, str]) -> Path:
    runtime = Path(environment.get("XDG_RUNTIME_DIR", ""))
    # A relative path is to be ignored, says the specification; after `su` the directory is another user's.
    if runtime.is_absolute() and os.access(runtime, os.W_OK | os.X_OK):
        return runtime
    return Path(tempfile.gettempdir())


def _sweep(base: Path) -> None:
    for path in base.glob(f"{PREFIX}*"):
        try:
            _remove_unused(path)
        except OSError:
            continue  # another user's, in use, or gone meanwhile


def _remove_unused(path: Path) -> None:
    """Remove a directory that no process holds. Raises ``OSError`` if one does."""
    if path.stat().st_uid != os.getuid() or not (path / MARKER).exists():
        return
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    finally:
        os.close(held)
