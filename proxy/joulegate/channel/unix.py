"""The channel's transport on one host: a Unix socket that only its user can reach."""

import asyncio
import errno
import socket
import stat
import sys
from pathlib import Path

from joulegate.channel.sender import Connector
from joulegate.errors import ConfigError

LONGEST = 103 if sys.platform == "darwin" else 107
"""Bytes in ``sun_path`` without the final NUL (unix(7); sys/un.h on macOS)."""


def unix_connector(path: Path) -> Connector:
    """Return what connects a gate to the meter's socket."""

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(path)

    return connect


def bind_private(path: Path) -> socket.socket:
    """Bind a socket with mode 0600, in a directory made with 0700 if it is missing; not listening yet.

    A file that a dead meter left is replaced. Raises ``ConfigError`` with the remedy.
    """
    if len(bytes(path)) > LONGEST:
        raise ConfigError(
            f"{path}: the path of a Unix socket may have {LONGEST} bytes and this one has "
            f"{len(bytes(path))}; choose a shorter runtime directory"
        )
    bound = socket.socket(socket.AF_UNIX)
    try:
        _prepare(path.parent)
        _remove_stale(path)
        bound.bind(bytes(path))
        path.chmod(0o600)  # nobody can connect before listen()
    except OSError as error:
        bound.close()
        raise ConfigError(f"{path}: no socket can be made here: {error.strerror or error}") from error
    except ConfigError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def _prepare(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{directory}: others may write here; use a directory with mode 0700")


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path}: is no socket; move the file away or choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        # BlockingIOError: somebody listens and has a full backlog.
        if probe.connect_ex(bytes(path)) in (0, errno.EAGAIN):
            raise ConfigError(f"{path}: another meter is running; stop it or choose another path")
    path.unlink()
