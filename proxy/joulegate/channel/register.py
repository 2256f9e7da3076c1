"""What a meter knows of its gates: who is there, what came, who waits for which span. No transport."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from uuid import uuid4

import psutil
from msgspec import Raw, Struct

from joulegate.channel.frames import (
    Events,
    FrameError,
    Hello,
    Welcome,
    Whole,
    pack,
    settled_frames,
    unpack_event,
)
from joulegate.log import logger
from joulegate.model import GateReport, SpanEvent, SpanId, SpanOpened
from joulegate.ports import EventHandler
from joulegate.units import Nanoseconds


class ConnectedGate(Struct, eq=False):
    """One process that said hello, connected or not."""

    id: str
    instance: str
    pid: int | None
    """``None`` if it is not to be seen from here, for example in another container."""
    send: Callable[[bytes], None] | None
    """Writes to its present connection; ``None`` without one."""
    connections: int = 0
    """How often it connected: the number of its present connection."""
    received: int = 0
    """Highest sequence number that was handed on."""
    leaving: bool = False
    """It said goodbye."""
    lost: bool = False
    """The handler was told that it is gone."""

    def lives(self) -> bool:
        """Whether its process may still be running."""
        return self.pid is None or process_lives(self.pid)


class GateRegister:
    """Hands each event on once per gate process, in the order in which that gate emitted it.

    ``began``, on the clock of the events, is when this meter began: no other one can have settled a span
    that was opened later, so nobody is asked for it. ``None``: everybody is asked for.
    """

    def __init__(
        self,
        handler: EventHandler,
        is_settled: Callable[[SpanId], bool],
        *,
        began: Nanoseconds | None = None,
    ) -> None:
        self.rejected_events = 0
        """Events that could not be read or that the handler refused with an error."""
        self._handler = handler
        self._is_settled = is_settled
        self._began = began
        self._instance = uuid4().hex
        self._gates: dict[str, ConnectedGate] = {}
        self._owners: dict[SpanId, str] = {}
        self._log = logger("channel")

    def connected(self) -> int:
        """Return the number of gates with a connection."""
        return sum(gate.send is not None for gate in self._gates.values())

    def hello(self, hello: Hello, send: Callable[[bytes], None]) -> ConnectedGate:
        """Accept a gate in. Raises ``FrameError`` if another process of this name is connected."""
        report = hello.report
        gate = self._gates.get(report.id)
        if gate is not None and gate.instance != hello.instance:
            if gate.send is not None:
                raise FrameError(f"another gate named {report.id!r} is connected, pid {gate.pid}")
            self.lose(gate)
            gate = None
        if gate is None:
            pid = report.pid if process_lives(report.pid) else None
            gate = self._gates[report.id] = ConnectedGate(report.id, hello.instance, pid, send)
        gate.send, gate.lost = send, False
        gate.connections += 1
        send(pack(Welcome(self._instance)))
        self._handler.gate_connected(report)
        self._log.info("channel.connected", gate=report.id, pid=report.pid)
        return gate

    def left(self, gate: ConnectedGate, connection: int) -> bool:
        """Notify that a connection ended; return whether it was the gate's present one."""
        if gate.connections != connection:
            return False
        gate.send = None
        return True

    def reported(self, report: GateReport) -> None:
        """Accept a gate's figures."""
        self._handler.gate_reported(report)

    def events(self, gate: ConnectedGate, events: Events) -> None:
        """Accept a batch: hand on what is new, and answer for spans that were settled long ago."""
        settled: dict[SpanId, None] = {}
        for sequence, packed in events.items:
            self._event(gate, sequence, packed, settled)
        self._tell(gate, settled)

    def settled(self, ids: Iterable[SpanId]) -> None:
        """Tell each gate which of its spans it may forget; one that is away asks again when it is back."""
        by_gate: defaultdict[str, list[SpanId]] = defaultdict(list)
        for id_ in ids:
            owner = self._owners.pop(id_, None)
            if owner is not None:
                by_gate[owner].append(id_)
        for name, own in by_gate.items():
            if name in self._gates:
                self._tell(self._gates[name], own)

    def lose(self, gate: ConnectedGate) -> None:
        """Tell the handler, once, that this process is gone."""
        if gate.lost:
            return
        gate.lost = True
        if not gate.leaving:
            self._log.warning("channel.lost", gate=gate.id, pid=gate.pid)
        if not gate.lives():  # it cannot come back: forget it, or each restart of a gate would leave one
            self._gates.pop(gate.id, None)
        self._handler.gate_lost(gate.id)

    def _event(self, gate: ConnectedGate, sequence: int, packed: Raw, settled: dict[SpanId, None]) -> None:
        try:
            event = unpack_event(packed)
            is_new = sequence > gate.received
            if event.id not in self._owners:
                if not (is_new and self._begins(event)) and self._is_settled(event.id):
                    settled[event.id] = None
                    return
                self._owners[event.id] = gate.id
            if is_new:
                gate.received = sequence
                if isinstance(event, Whole):
                    self._handler.event(gate.id, event.opened)
                    event = event.closed
                self._handler.event(gate.id, event)
        except Exception:  # one bad event must not cut a gate off, or be sent again for ever
            self._reject()

    def _begins(self, event: SpanEvent | Whole) -> bool:
        """Whether a span begins with this event, under this meter."""
        opened = event.opened if isinstance(event, Whole) else event
        return isinstance(opened, SpanOpened) and self._began is not None and opened.t >= self._began

    def _tell(self, gate: ConnectedGate, ids: Iterable[SpanId]) -> None:
        if gate.send is None:
            return
        for frame in settled_frames(ids):
            gate.send(frame)

    def _reject(self) -> None:
        self.rejected_events += 1
        if self.rejected_events == 1:
            self._log.error(
                "channel.refused",
                reason="an event could not be used; later ones are counted only",
                exc_info=True,
            )


def process_lives(pid: int) -> bool:
    """Whether a process is running here; one that ended and is not reaped yet is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, ValueError):
        return False
