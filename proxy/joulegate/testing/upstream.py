"""A server that does with each connection exactly what a test says, down to the byte and the reset."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

_HEAD_END = b"\r\n\r\n"


class Request(NamedTuple):
    """One request as it came over the wire."""

    head: bytes
    """With its last empty line."""
    body: bytes

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.partition(b"\r\n")[0]

    @property
    def target(self) -> bytes:
        """The request target, byte for byte."""
        return self.line.split(b" ")[1]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields in their order and case."""
        lines = self.head.split(b"\r\n")[1:-2]
        return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]

    def all(self, name: bytes) -> list[bytes]:
        """Return the values of all fields of this name (in lower case)."""
        return [value for field, value in self.fields if field.lower() == name]


class Peer:
    """One connection from the gate."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.gone = asyncio.Event()
        """The gate has closed or reset the connection; set by ``left`` and by every failed read."""
        self.requests: list[Request] = []

    async def head(self) -> bytes:
        """Read the head of the next request; ``b""`` if the gate closed instead."""
        try:
            return await self._reader.readuntil(_HEAD_END)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
            return b""

    async def request(self) -> Request | None:
        """Read the next request whole; ``None`` if the gate closed instead."""
        head = await self.head()
        if not head:
            return None
        try:
            request = Request(head, await self._body(head))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
            return None
        self.requests.append(request)
        return request

    async def read(self, size: int = 65_536) -> bytes:
        """Read what is there; ``b""`` at the end."""
        try:
            data = await self._reader.read(size)
        except ConnectionError:
            data = b""
        if not data:
            self.gone.set()
        return data

    async def send(self, data: bytes) -> None:
        """Send bytes; a gate that is gone is noted, not raised."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            self.gone.set()

    async def answer(
        self, body: bytes = b"{}", *, status: str = "200 OK", fields: Sequence[bytes] = ()
    ) -> None:
        """Send a whole answer with ``Content-Length``."""
        lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *fields]
        await self.send(b"\r\n".join(lines) + _HEAD_END + body)

    async def chunks(self, *parts: bytes, last: bool = True) -> None:
        """Send chunks, and the last one."""
        for part in parts:
            await self.send(b"%x\r\n%b\r\n" % (len(part), part))
        if last:
            await self.send(b"0\r\n\r\n")

    async def left(self) -> None:
        """Wait until the gate has closed, reading away what it sends."""
        while await self.read():
            pass

    def close(self) -> None:
        """Close after what was sent."""
        self._writer.close()

    def end(self) -> None:
        """Send no more; the gate still may."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Reset the connection."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _body(self, head: bytes) -> bytes:
        request = Request(head, b"")
        if request.all(b"transfer-encoding"):
            return await self._chunked()
        lengths = request.all(b"content-length")
        return await self._reader.readexactly(int(lengths[0])) if lengths else b""

    async def _chunked(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body


Script = Callable[[Peer], Awaitable[None]]


class ScriptedUpstream:
    """Runs a script for each connection. ``async with ScriptedUpstream(script) as upstream: …``.

    With ``tls`` it speaks https. A connection ends with its script. What a script raises is raised again at
    the end of the block.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self._changed = asyncio.Condition()
        self.peers: list[Peer] = []
        """All connections, in the order in which they came."""

    @property
    def port(self) -> int:
        """Port on 127.0.0.1."""
        sockets = self._server.sockets if self._server else ()
        return int(sockets[0].getsockname()[1]) if sockets else 0

    @property
    def url(self) -> str:
        """URL for an upstream's configuration."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """All requests that were read whole, by connection."""
        return [request for peer in self.peers for request in peer.requests]

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        if self._server:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._errors and error is None:
            raise self._errors[0]

    async def connected(self, count: int = 1) -> Peer:
        """Wait for so many connections; return the last of them."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.peers) >= count)
        return self.peers[count - 1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        peer = Peer(reader, writer)
        async with self._changed:
            self.peers.append(peer)
            self._changed.notify_all()
        try:
            await self._script(peer)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001, RUF100 (kept for the end of the block)
            self._errors.append(error)
        finally:
            writer.close()


async def echo(peer: Peer) -> None:
    """Answer every request with its own body."""
    while request := await peer.request():
        await peer.answer(request.body)
