"""The meter's end of the channel: listens for gates on a Unix socket."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import assert_never

from joulegate.channel.frames import Events, FrameError, GateFrame, Goodbye, Hello, ReportFrame, unpack_gate
from joulegate.channel.register import ConnectedGate, GateRegister
from joulegate.channel.stream import FrameReader
from joulegate.channel.unix import bind_private
from joulegate.log import logger
from joulegate.model import SpanId
from joulegate.ports import EventHandler
from joulegate.units import Nanoseconds

COME_BACK_WITHIN = 2.0
"""Seconds that a gate whose process lives has for a new connection before it counts as dead."""
LOOK_EVERY = 0.05
HELLO_WITHIN = 5.0
BACKLOG = 128


class EventServer:
    """Takes the connections of gates and keeps each gate's place while it reconnects.

    ``is_settled`` says whether a span was settled for good, also by a meter before this one, as far as
    its ledger knows; it is asked once for each span that is new to this meter, but not for one that was
    opened after ``began``, when this meter began. It must be true for every span that was given to
    ``settled``.
    """

    def __init__(
        self,
        path: Path,
        handler: EventHandler,
        *,
        is_settled: Callable[[SpanId], bool],
        began: Nanoseconds | None = None,
        come_back_within: float = COME_BACK_WITHIN,
        hello_within: float = HELLO_WITHIN,
    ) -> None:
        self.refused_connections = 0
        """Connections that were closed because of what came over them."""
        self._path = path
        self._register = GateRegister(handler, is_settled, began=began)
        self._come_back_within = come_back_within
        self._hello_within = hello_within
        self._server: asyncio.Server | None = None
        self._stopping = False
        self._open: set[asyncio.StreamWriter] = set()
        self._alone = asyncio.Event()
        self._alone.set()
        self._log = logger("channel")

    @property
    def rejected_events(self) -> int:
        """Events that could not be read, or that the handler failed on."""
        return self._register.rejected_events

    async def start(self) -> None:
        """Listen. Raises ``ConfigError`` if there can be no socket at the path."""
        bound = bind_private(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=bound, backlog=BACKLOG)

    async def stop(self) -> None:
        """Close every connection and take the socket away. Gates keep their events for the next meter."""
        if self._server is None:
            return
        self._stopping = True
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._alone.wait()
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def alone(self) -> None:
        """Wait until no gate is connected or expected back: a meter that ends waits for its gates first."""
        await self._alone.wait()

    def settled(self, ids: Iterable[SpanId]) -> None:
        """Let the gates forget these spans; call it on the loop, once they are safe in the ledger."""
        self._register.settled(ids)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self._alone.clear()
        try:
            gate = await self._converse(FrameReader(reader, unpack_gate), writer)
            if gate is not None:
                await self._see_off(gate, gate.connections)
        finally:
            self._open.discard(writer)
            if not self._open:
                self._alone.set()

    async def _converse(
        self, frames: FrameReader[GateFrame], writer: asyncio.StreamWriter
    ) -> ConnectedGate | None:
        """Listen to one connection until its end; return its gate unless that has a newer connection."""
        gate: ConnectedGate | None = None
        connection = 0
        try:
            gate = await self._greeted(frames, writer)
            connection = gate.connections
            while True:
                self._take(gate, await frames.next())
        except FrameError as error:
            self._refuse(error)
        except (OSError, EOFError):
            pass  # how every connection ends; what it means is found out in _see_off
        finally:
            writer.close()
        return gate if gate is not None and self._register.left(gate, connection) else None

    async def _greeted(self, frames: FrameReader[GateFrame], writer: asyncio.StreamWriter) -> ConnectedGate:
        async with asyncio.timeout(self._hello_within):
            hello = await frames.next()
        if not isinstance(hello, Hello):
            raise FrameError("a gate did not begin with hello")
        return self._register.hello(hello, writer.write)

    def _take(self, gate: ConnectedGate, frame: GateFrame) -> None:
        match frame:
            case Events():
                self._register.events(gate, frame)
            case ReportFrame(report=report):
                self._register.reported(report)
            case Goodbye():
                gate.leaving = True
            case Hello():
                raise FrameError("a gate said hello twice")
            case _:
                assert_never(frame)

    async def _see_off(self, gate: ConnectedGate, connection: int) -> None:
        """Wait for a gate to come back; report it dead if its process is gone or it does not come."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._come_back_within
        while gate.connections == connection and not self._stopping:
            if gate.leaving or not gate.lives() or loop.time() >= deadline:
                self._register.lose(gate)
                return
            await asyncio.sleep(LOOK_EVERY)

    def _refuse(self, error: FrameError) -> None:
        self.refused_connections += 1
        if self.refused_connections == 1:
            self._log.error("channel.refused", reason=str(error))
