"""The meter's end of the channel: listens for gates."""

import asyncio
from collections.abc import Collection, Mapping
from typing import assert_never

from joulegate import clock
from joulegate.channel.frames import (
    Events,
    FrameError,
    GateFrame,
    Goodbye,
    Hello,
    Ping,
    Pong,
    RefusalReason,
    RefusedConnection,
    ReportFrame,
    pack,
    unpack_gate,
)
from joulegate.channel.register import ConnectedGate, GateRegister
from joulegate.channel.stream import BEAT_SECONDS, FrameReader, until_one_fails, until_silent
from joulegate.channel.transports import GateListener
from joulegate.log import logger
from joulegate.model import ChannelStatus, Figures, Limits, SpanId
from joulegate.ports import EventHandler

COME_BACK_WITHIN = 2.0
"""Seconds that a gate of this host has for a new connection before it counts as dead and its requests are
closed; one whose process is gone has none."""
REMOTE_COME_BACK_WITHIN = 30.0
"""The same of another host's gate: a network is away for longer than a process, and nothing else tells."""
LOOK_EVERY = 0.05
HELLO_WITHIN = 5.0
REASONS = 16
"""Different reasons of refusals that are logged; later ones are counted only."""


class EventServer:
    """Takes the connections of gates and keeps each gate's place while it reconnects.

    ``clock_id`` names the clock of this process.
    """

    def __init__(
        self,
        listener: GateListener,
        handler: EventHandler,
        *,
        clock_id: str = "",
        come_back_within: float = COME_BACK_WITHIN,
        remote_come_back_within: float = REMOTE_COME_BACK_WITHIN,
        hello_within: float = HELLO_WITHIN,
        beat: float = BEAT_SECONDS,
    ) -> None:
        self._refused = dict.fromkeys(RefusalReason, 0)
        self._ignored_parts = 0
        self._listener = listener
        self._register = GateRegister(handler, clock_id=clock_id)
        self._come_back_within = come_back_within
        self._remote_come_back_within = remote_come_back_within
        self._hello_within = hello_within
        self._beat = beat
        self._reasons: set[str] = set()
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

    def status(self) -> ChannelStatus:
        """Return how well gates and meter understand each other; a reason that never was is a zero."""
        refused = tuple((reason.value, times) for reason, times in self._refused.items())
        return ChannelStatus(refused, self._ignored_parts, self._register.clocks())

    async def start(self) -> None:
        """Listen. Raises ``ConfigError`` if the listener cannot."""
        self._server = await self._listener.listen(self._serve)

    async def stop(self) -> None:
        """Close every connection and stop listening. Gates keep their events for the next meter."""
        if self._server is None:
            return
        self._stopping = True
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._alone.wait()
        await self._server.wait_closed()
        self._listener.remove()

    async def alone(self) -> None:
        """Wait until no gate is connected or expected back: a meter that ends waits for its gates first."""
        await self._alone.wait()

    def settled(self, spans: Mapping[str, Collection[SpanId]]) -> None:
        """Let each gate forget its spans; call it on the loop, once they are safe in the ledger."""
        self._register.settled(spans)

    def send(self, frame: Figures | Limits, gate: str | None = None) -> None:
        """Send a frame to one gate by its name, or to all; one that is away does not get it."""
        self._register.send(frame, gate)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self._alone.clear()
        try:
            gate = await self._converse(FrameReader(reader, unpack_gate, self._ignored), writer)
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
            await until_one_fails(
                self._listen(gate, connection, frames),
                until_silent(frames, lambda: writer.write(pack(Ping(clock.monotonic()))), beat=self._beat),
            )
        except FrameError as error:
            self._refuse(error)
            writer.write(pack(RefusedConnection(str(error))))
        except (OSError, EOFError):
            pass  # how every connection ends; what it means is found out in _see_off
        finally:
            writer.close()
        return gate if gate is not None and self._register.left(gate, connection) else None

    async def _greeted(self, frames: FrameReader[GateFrame], writer: asyncio.StreamWriter) -> ConnectedGate:
        try:
            async with asyncio.timeout(self._hello_within):
                hello = await frames.next()
        except TimeoutError:
            raise FrameError(
                f"what connected said nothing for {self._hello_within:g} s", RefusalReason.SILENT
            ) from None
        if not isinstance(hello, Hello):
            raise FrameError("a gate did not begin with hello")
        return self._register.hello(hello, writer.write)

    async def _listen(self, gate: ConnectedGate, connection: int, frames: FrameReader[GateFrame]) -> None:
        while True:
            frame = await frames.next()
            if gate.connections != connection:
                raise EOFError("the gate has a newer connection")
            self._take(gate, frame)

    def _take(self, gate: ConnectedGate, frame: GateFrame) -> None:
        match frame:
            case Events():
                self._register.events(gate, frame)
            case ReportFrame(report=report):
                self._register.reported(report)
            case Pong():
                self._register.answered(gate, frame)
            case Goodbye():
                gate.leaving = True
            case Hello():
                raise FrameError(f"gate {gate.id!r} said hello twice")
            case _:
                assert_never(frame)

    async def _see_off(self, gate: ConnectedGate, connection: int) -> None:
        """Wait for a gate to come back; report it dead if it said goodbye, has ended, or does not come."""
        loop = asyncio.get_running_loop()
        grace = self._come_back_within if gate.clock is None else self._remote_come_back_within
        deadline = loop.time() + grace
        while gate.connections == connection and not self._stopping:
            if gate.leaving or loop.time() >= deadline or gate.has_ended():
                self._register.lose(gate)
                return
            await asyncio.sleep(LOOK_EVERY)

    def _refuse(self, error: FrameError) -> None:
        self._refused[error.reason] += 1
        if str(error) not in self._reasons and len(self._reasons) < REASONS:
            self._reasons.add(str(error))
            self._log.error("channel.refused", reason=str(error))

    def _ignored(self, parts: int) -> None:
        """Count what a newer gate says and this meter does not know; say so the first time."""
        if not self._ignored_parts:
            self._log.warning("channel.ignored", parts=parts, note="a gate is of a newer version")
        self._ignored_parts += parts
