"""What the tests of the channel share: events, a handler that writes down what it is told, a short path."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from joulegate.channel.receiver import EventServer
from joulegate.channel.sender import EventSender
from joulegate.channel.transports import (
    Connector,
    GateListener,
    Streams,
    TlsFiles,
    TlsListener,
    UnixListener,
    tls_connector,
    unix_connector,
)
from joulegate.model import GateReport, Outcome, SpanChunks, SpanClosed, SpanEvent, SpanId, SpanOpened, Task
from joulegate.units import Nanoseconds


class Notes:
    """An event handler that writes everything down and lets a test wait for it."""

    def __init__(self) -> None:
        self.connected: list[GateReport] = []
        self.reports: list[GateReport] = []
        self.lost: list[str] = []
        self.events: list[tuple[str, SpanEvent]] = []
        self.settled: set[SpanId] = set()
        self.fails_on: set[str] = set()
        self.earliest: list[Nanoseconds | None] = []
        self._news = asyncio.Event()

    def gate_connected(self, report: GateReport) -> None:
        self.connected.append(report)
        self._news.set()

    def gate_reported(self, report: GateReport) -> None:
        self.reports.append(report)
        self._news.set()

    def gate_lost(self, gate: str) -> None:
        self.lost.append(gate)
        self._news.set()

    def event(self, gate: str, event: SpanEvent, earliest: Nanoseconds | None = None) -> bool:
        self.earliest.append(earliest)
        if event.id in self.fails_on:
            raise ArithmeticError(event.id)
        if event.id in self.settled:
            return True
        self.events.append((gate, event))
        self._news.set()
        return False

    def is_settled(self, id_: SpanId) -> bool:
        return id_ in self.settled

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on these notes holds, at most ten seconds."""
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()


class Words:
    """Makes events."""

    def opened(self, id_: str) -> SpanOpened:
        return SpanOpened(SpanId(id_), Nanoseconds(1), "llm", "openai", Task.CHAT)

    def chunks(self, id_: str, count: int = 1) -> SpanChunks:
        return SpanChunks(SpanId(id_), [Nanoseconds(2)] * count, [7] * count)

    def closed(self, id_: str) -> SpanClosed:
        return SpanClosed(SpanId(id_), Nanoseconds(3), Outcome.OK)

    def span(self, id_: str) -> list[SpanEvent]:
        """One whole request."""
        return [self.opened(id_), self.chunks(id_), self.closed(id_)]


class Bench:
    """Senders and meters that find each other over one transport."""

    def __init__(self, listener: Callable[[], GateListener], connect: Connector) -> None:
        self.listener = listener
        self.connector = connect

    async def connect(self) -> Streams:
        """A connection of something that may be no gate."""
        return await self.connector()

    @asynccontextmanager
    async def meter(self, notes: Notes, **options: Any) -> AsyncIterator[EventServer]:
        """A meter that lives as long as the block; like a killed one, it says no farewell."""
        server = EventServer(self.listener(), notes, **options)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()

    @asynccontextmanager
    async def gate(self, name: str = "gate-0", *, pid: int = 1, **options: Any) -> AsyncIterator[EventSender]:
        """A running sender that ends with the block."""
        sender = EventSender(self.connector, lambda: GateReport(name, pid), **options)
        task = asyncio.get_running_loop().create_task(sender.run())
        try:
            yield sender
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A path short enough for a socket, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="jg-") as directory:
        yield Path(directory) / "meter.sock"


class Authority:
    """Makes certificates, and the files of one end that hold them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self.file = directory / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def files(self, name: str, *, trusted: "Authority | None" = None) -> TlsFiles:
        """The files of an end of this name that believes this authority, or another one."""
        certificate = self._ca.issue_cert(name)
        paths = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        certificate.cert_chain_pems[0].write_to_path(str(paths[0]))
        certificate.private_key_pem.write_to_path(str(paths[1]))
        return TlsFiles(*paths, authority=(trusted or self).file)


@pytest.fixture(scope="session")
def make_authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Authority]:
    """Makes an authority of its own."""
    return lambda: Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def authority(make_authority: Callable[[], Authority]) -> Authority:
    return make_authority()


@pytest.fixture
def port() -> int:
    """A port of this host that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def over_unix(socket_path: Path) -> Bench:
    return Bench(lambda: UnixListener(socket_path), unix_connector(socket_path))


@pytest.fixture
def over_tls(port: int, authority: Authority) -> Bench:
    files = authority.files("127.0.0.1")
    return Bench(lambda: TlsListener("127.0.0.1", port, files), tls_connector("127.0.0.1", port, files))


@pytest.fixture(params=["over_unix", "over_tls"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Every test that uses it holds for both transports."""
    found: Bench = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def make_notes() -> type[Notes]:
    """Makes an event handler that writes everything down."""
    return Notes


@pytest.fixture(scope="session")
def words() -> Words:
    return Words()
