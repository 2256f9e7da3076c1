"""The socket belongs to its user alone, and what is wrong with a path is said with the remedy."""

import asyncio
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from msgspec.structs import replace

from joulegate.channel.transports import (
    LONGEST,
    TlsListener,
    TlsProblem,
    bind_private,
    tls_connector,
    unix_connector,
)
from joulegate.errors import ConfigError


@pytest.fixture
def live(socket_path: Path) -> Iterator[Path]:
    """A socket that somebody listens on."""
    with closing(bind_private(socket_path)) as bound:
        bound.listen()
        yield socket_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_socket_and_new_directory_are_private(socket_path: Path) -> None:
    """Nobody else may send events or read them."""
    path = socket_path.parent / "run" / "meter.sock"
    with closing(bind_private(path)):
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700


def test_the_socket_of_a_dead_meter_is_replaced(socket_path: Path) -> None:
    """A meter that was killed does not keep the next one from starting."""
    bind_private(socket_path).close()
    assert socket_path.exists()
    with closing(bind_private(socket_path)) as bound:
        bound.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(socket_path))


def test_a_living_meter_is_not_replaced(live: Path) -> None:
    """Two meters on one socket would each see half of the requests."""
    with pytest.raises(ConfigError, match=r"meter\.sock: another meter is running; stop it"):
        bind_private(live)
    assert live.exists()


def test_a_file_that_is_no_socket_stays(socket_path: Path) -> None:
    """A wrong path never deletes a user's file."""
    socket_path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        bind_private(socket_path)
    assert socket_path.read_text() == "precious"


def test_a_path_too_long_for_the_system_is_named_with_its_bound(socket_path: Path) -> None:
    """The kernel's bound is said in words, not as 'AF_UNIX path too long'."""
    path = socket_path.with_name("x" * LONGEST)
    with pytest.raises(ConfigError, match=f"may have {LONGEST} bytes"):
        bind_private(path)


def test_a_path_of_the_greatest_length_works(socket_path: Path) -> None:
    """The bound itself is still allowed."""
    path = socket_path.with_name("x" * (LONGEST - len(bytes(socket_path.parent)) - 1))
    with closing(bind_private(path)):
        assert path.is_socket()


def test_a_directory_where_others_may_write_is_refused(socket_path: Path) -> None:
    """In such a directory anyone could put a socket of their own in place of the meter's."""
    socket_path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write here; use a directory with mode 0700"):
        bind_private(socket_path)


def test_a_directory_that_cannot_be_made_is_named(socket_path: Path) -> None:
    """A plain file in the way is an error of the configuration, with the path."""
    socket_path.write_text("")
    with pytest.raises(ConfigError, match=r"meter\.sock/below/x: no socket can be made here"):
        bind_private(socket_path / "below" / "x")


async def test_the_connector_connects(live: Path) -> None:
    """A gate finds the meter by the path alone."""
    _, writer = await unix_connector(live)()
    assert not writer.is_closing()
    writer.close()
    await writer.wait_closed()


async def test_without_a_meter_the_connector_raises_an_os_error(socket_path: Path) -> None:
    """No meter is an ordinary state that the sender waits out."""
    with pytest.raises(OSError, match="No such file"):
        await unix_connector(socket_path)()


def test_files_of_an_end_are_checked_before_anyone_connects(authority: Any, tmp_path: Path) -> None:
    """What is missing, is no certificate, or needs a password is told with the name of the file."""
    files = authority.files("gate")
    nothing, empty, locked = tmp_path / "nothing", tmp_path / "empty", tmp_path / "locked"
    empty.write_text("")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for wrong in (
        replace(files, authority=nothing),
        replace(files, authority=empty),
        replace(files, certificate=empty),
        replace(files, key=locked),
        replace(files, key=authority.files("meter").key),
    ):
        [changed] = {wrong.certificate, wrong.key, wrong.authority} - {
            files.certificate,
            files.key,
            files.authority,
        }
        with pytest.raises(ConfigError, match=str(changed)):
            wrong.context(server=False)


async def test_a_port_that_is_taken_is_said(port: int, authority: Any) -> None:
    """The error names the address and what to do."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    files = authority.files("127.0.0.1")
    server = await TlsListener("127.0.0.1", port, files).listen(serve)
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: no gate can connect here.*choose another"):
        await TlsListener("127.0.0.1", port, files).listen(serve)
    server.close()
    await server.wait_closed()


async def test_a_meter_is_believed_by_the_name_of_its_host(port: int, authority: Any) -> None:
    """A certificate of the right authority for another host is none."""
    served = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        writer.close()

    server = await TlsListener("127.0.0.1", port, authority.files("other.example")).listen(serve)
    with pytest.raises(TlsProblem, match="IP address mismatch"):
        await tls_connector("127.0.0.1", port, authority.files("127.0.0.1"))()
    assert served == []
    server.close()
    await server.wait_closed()


async def test_a_connection_without_a_certificate_is_not_served(port: int, authority: Any) -> None:
    """Who may reach the port may not for that send events."""
    served = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        writer.close()

    server = await TlsListener("127.0.0.1", port, authority.files("127.0.0.1")).listen(serve)
    context = ssl.create_default_context(cafile=authority.file)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    with suppress(ssl.SSLError, ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert served == []
    server.close()
    await server.wait_closed()
