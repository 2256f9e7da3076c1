"""How gates and the meter reach each other: a Unix socket on one host, TCP with mutual TLS between hosts."""

import asyncio
import errno
import socket
import ssl
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct

from joulegate.errors import ConfigError, JoulegateError

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connector: TypeAlias = Callable[[], Awaitable[Streams]]
"""Makes a connection to the meter. Raises ``OSError`` if there is none now."""
Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Holds the conversation with one gate."""

LONGEST = 103 if sys.platform == "darwin" else 107
"""Bytes in ``sun_path`` without the final NUL (unix(7); sys/un.h on macOS)."""
BACKLOG = 128
HANDSHAKE_SECONDS = 5.0
UNHEARD_MILLISECONDS = 3000
"""Time after which TCP gives up what the other end does not acknowledge: a cut cable holds no memory."""


class GateListener(Protocol):
    """Where a meter waits for its gates."""

    async def listen(self, serve: Serve) -> asyncio.Server:
        """Accept connections from now on. Raises ``ConfigError`` with the remedy if that cannot be."""
        ...

    def remove(self) -> None:
        """Remove what would be left of it."""
        ...


class UnixListener:
    """A socket of the file system that only its user can reach."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def listen(self, serve: Serve) -> asyncio.Server:
        """Accept connections from now on. Raises ``ConfigError`` if there can be no socket at the path."""
        return await asyncio.start_unix_server(serve, sock=bind_private(self._path), backlog=BACKLOG)

    def remove(self) -> None:
        """Remove the socket's file."""
        self._path.unlink(missing_ok=True)


def unix_connector(path: Path) -> Connector:
    """Return what connects a gate to the meter's socket."""

    async def connect() -> Streams:
        return await asyncio.open_unix_connection(path)

    return connect


class TlsFiles(Struct, frozen=True):
    """The PEM files of one end: who it is, and whom it believes."""

    certificate: Path
    """Its own, and what stands between that and the authority."""
    key: Path
    authority: Path
    """Of the other end's certificate; no other one is believed."""

    def context(self, *, server: bool) -> ssl.SSLContext:
        """Return a context of TLS 1.3 in which both ends show certificates. Raises ``ConfigError``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        for file in (self.certificate, self.key, self.authority):
            try:
                file.read_bytes()
            except OSError as error:
                raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except ssl.SSLError as error:
            raise ConfigError(
                f"{self.certificate} and {self.key}: no certificate and its key without a password, "
                f"in PEM form: {error.reason}"
            ) from error
        try:
            context.load_verify_locations(self.authority)
        except ssl.SSLError as error:
            raise ConfigError(f"{self.authority}: no certificate in PEM form: {error.reason}") from error
        return context


class TlsListener:
    """A TCP port that serves only gates with a certificate of the meter's authority."""

    def __init__(self, host: str, port: int, files: TlsFiles) -> None:
        self._host = host
        self._port = port
        self._context = files.context(server=True)

    async def listen(self, serve: Serve) -> asyncio.Server:
        """Accept connections from now on. Raises ``ConfigError`` if the port is not to be had."""

        async def serve_promptly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _bound_silence(writer)
            await serve(reader, writer)

        try:
            return await asyncio.start_server(
                serve_promptly,
                self._host,
                self._port,
                backlog=BACKLOG,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=HANDSHAKE_SECONDS,
            )
        except OSError as error:
            raise ConfigError(
                f"{self._host}:{self._port}: no gate can connect here: {error.strerror or error}; "
                f"choose another address or stop what listens there"
            ) from error

    def remove(self) -> None:
        """Leave nothing: a port goes with its process."""


def tls_connector(host: str, port: int, files: TlsFiles, *, within: float = HANDSHAKE_SECONDS) -> Connector:
    """Return what connects a gate to a meter whose certificate is for this host. Raises ``ConfigError``."""
    context = files.context(server=False)

    async def connect() -> Streams:
        try:
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, ssl_handshake_timeout=within, ssl_shutdown_timeout=within
            )
        except (ssl.SSLError, ConnectionAbortedError) as error:
            raise TlsProblem(f"{host}:{port}: {_handshake_problem(error, within)}") from error
        _bound_silence(writer)
        return reader, writer

    return connect


class TlsProblem(JoulegateError):
    """The other end is not whom one believes, or does not believe this end."""


def refused_by_tls(error: Exception, writer: asyncio.StreamWriter) -> TlsProblem | None:
    """Return why a connection ended before the meter's welcome, ``None`` if that is not for TLS.

    In TLS 1.3 a gate learns after its own handshake that the meter does not accept its certificate, and from
    some meters only by the end of the connection.
    """
    if writer.get_extra_info("ssl_object") is None:
        return None
    words = (
        _words(error) if isinstance(error, ssl.SSLError) else "it closed the connection before its welcome"
    )
    return TlsProblem(
        f"the meter does not accept this gate's certificate, or is ending: {words}; "
        f"the authority that the meter trusts must have signed it"
    )


def _handshake_problem(error: ssl.SSLError | ConnectionAbortedError, within: float) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the meter's certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"no meter that speaks TLS 1.3: {_words(error)}"
    return f"what listens there did not begin TLS within {within:g} s; is it a meter?"


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _no_password() -> str:
    """Return no password: OpenSSL would ask for one at the terminal."""
    return ""


def _bound_silence(writer: asyncio.StreamWriter) -> None:
    if sys.platform == "linux":
        with suppress(OSError):  # the connection has ended already
            writer.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_MILLISECONDS
            )


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
