"""What a meter knows of its gates: who is there, what came, who waits for which span. No transport."""

from collections.abc import Callable, Collection, Mapping
from uuid import uuid4

from msgspec import Raw, Struct

from joulegate import clock
from joulegate.channel.clocks import GateClock, RoundTrip
from joulegate.channel.frames import (
    VERSION,
    Events,
    FrameError,
    Hello,
    Pong,
    RefusalReason,
    Welcome,
    Whole,
    pack,
    settled_frames,
    unpack_event,
    version_problem,
)
from joulegate.log import logger
from joulegate.model import ClockStatus, Figures, GateReport, Limits, SpanEvent, SpanId, SpanOpened
from joulegate.ports import EventHandler
from joulegate.processes import process_lives
from joulegate.units import Nanoseconds

LOST_GATES = 64
"""Lost gates of which the meter still knows how far they had come, should one come back after all."""


class ConnectedGate(Struct, eq=False):
    """One process that said hello, connected or not."""

    id: str
    instance: str
    pid: int
    """On its own host."""
    process: int | None
    """The same, where it was seen to live on this host; a hint, for a container may have pids of its own."""
    clock: GateClock | None
    """``None``: it reads this meter's own clock, and so runs on its host."""
    send: Callable[[bytes], None] | None
    """Writes to its present connection; ``None`` without one."""
    connections: int = 0
    """How often it connected: the number of its present connection."""
    latest: int = 0
    """Sequence number of the last event of its present connection."""
    received: int = 0
    """Highest sequence number that was handed on."""
    leaving: bool = False
    """It said goodbye."""
    lost: bool = False
    """The handler was told that it is gone."""

    def has_ended(self) -> bool:
        """Whether its process is known to be gone."""
        return self.process is not None and not process_lives(self.process)


class GateRegister:
    """Hands each event on once per gate process, in the order in which that gate emitted it.

    Times of gates that read another clock than the meter's, ``clock_id``, are moved to the meter's.
    """

    def __init__(
        self,
        handler: EventHandler,
        *,
        now: Callable[[], Nanoseconds] = clock.monotonic,
        clock_id: str = "",
    ) -> None:
        self.rejected_events = 0
        """Events that could not be read or that the handler refused with an error."""
        self._handler = handler
        self._now = now
        self._clock_id = clock_id
        self._instance = uuid4().hex
        self._gates: dict[str, ConnectedGate] = {}
        self._log = logger("channel")

    def connected(self) -> int:
        """Return the number of gates with a connection."""
        return sum(gate.send is not None for gate in self._gates.values())

    def hello(self, hello: Hello, send: Callable[[bytes], None]) -> ConnectedGate:
        """Let a gate in and return it.

        Raises ``FrameError`` if it speaks another version, or if another process of its name is connected.
        """
        report = hello.report
        if problem := version_problem(hello.version, f"gate {report.id!r}"):
            raise FrameError(problem, RefusalReason.VERSION)
        gate = self._gates.get(report.id)
        if gate is not None and gate.instance != hello.instance:
            if gate.send is not None:
                raise FrameError(
                    f"another gate named {report.id!r} is connected, pid {gate.pid}", RefusalReason.NAME
                )
            self.lose(gate)
            gate = None
        if gate is None:
            here = hello.clock == self._clock_id
            gate = ConnectedGate(
                report.id,
                hello.instance,
                report.pid,
                process=report.pid if here and process_lives(report.pid) else None,
                clock=None if here else GateClock(),
                send=send,
            )
        self._gates[report.id] = gate
        gate.send, gate.lost, gate.leaving, gate.latest = send, False, False, 0
        gate.connections += 1
        send(pack(Welcome(self._instance, VERSION, self._now())))
        self._handler.gate_connected(report)
        self._log.info("channel.connected", gate=report.id, pid=report.pid)
        return gate

    def left(self, gate: ConnectedGate, connection: int) -> bool:
        """Notify that a connection ended; return whether it was the gate's present one."""
        if gate.connections != connection:
            return False
        gate.send = None
        return True

    def answered(self, gate: ConnectedGate, pong: Pong) -> None:
        """Record what a gate's clock shows. Raises ``FrameError`` for an answer to a later question."""
        if gate.clock is None:
            return
        try:
            gate.clock.answered(RoundTrip(pong.asked, pong.answered, self._now()))
        except ValueError as error:
            raise FrameError(f"gate {gate.id!r} garbles heartbeats: {error}", RefusalReason.CLOCK) from error

    def clocks(self) -> tuple[ClockStatus, ...]:
        """Return how the clocks of the connected gates differ from the meter's, as far as that is known."""
        now = self._now()
        return tuple(
            ClockStatus(gate.id, Nanoseconds(0), Nanoseconds(0))
            if gate.clock is None
            else gate.clock.status(gate.id, now)
            for gate in self._gates.values()
            if gate.send is not None and (gate.clock is None or gate.clock.is_known)
        )

    def reported(self, report: GateReport) -> None:
        """Accept a gate's figures."""
        self._handler.gate_reported(report)

    def events(self, gate: ConnectedGate, events: Events) -> None:
        """Hand on what is new in a batch, and answer for spans that were settled long ago.

        Raises ``FrameError`` where the sequence numbers do not rise; what came before is handed on. And for
        events whose times mean nothing, because the gate has not said yet what its clock shows.
        """
        if gate.clock is not None and not gate.clock.is_known:
            raise FrameError(
                f"gate {gate.id!r} sent events before it answered the welcome", RefusalReason.CLOCK
            )
        settled: dict[SpanId, None] = {}
        for sequence, packed in events.items:
            if sequence <= gate.latest:
                raise FrameError(
                    f"gate {gate.id!r} sent event {sequence} after event {gate.latest}: numbers must rise",
                    RefusalReason.ORDER,
                )
            gate.latest = sequence
            self._event(gate, sequence, packed, settled)
        self._send_settled(gate, settled)

    def settled(self, spans: Mapping[str, Collection[SpanId]]) -> None:
        """Tell gates which spans they may forget; one that is away asks again when it is back."""
        for name, ids in spans.items():
            if name in self._gates:
                self._send_settled(self._gates[name], ids)

    def send(self, frame: Figures | Limits, gate: str | None = None) -> None:
        """Send a frame to one gate by its name, or to all; one that is away does not get it."""
        packed = pack(frame)
        for one in self._gates.values() if gate is None else filter(None, [self._gates.get(gate)]):
            if one.send is not None:
                one.send(packed)

    def lose(self, gate: ConnectedGate) -> None:
        """Tell the handler, once, that this process is gone."""
        if gate.lost:
            return
        gate.lost = True
        if not gate.leaving:
            self._log.warning("channel.lost", gate=gate.id, pid=gate.pid)
        self._forget(gate)
        self._handler.gate_lost(gate.id)

    def _forget(self, gate: ConnectedGate) -> None:
        """Forget a gate that ended, and the oldest of too many lost ones: each restart makes a new gate."""
        if gate.leaving:
            self._gates.pop(gate.id, None)
        lost = [one.id for one in self._gates.values() if one.lost]
        for id_ in lost[: max(len(lost) - LOST_GATES, 0)]:
            del self._gates[id_]

    def _event(self, gate: ConnectedGate, sequence: int, packed: Raw, settled: dict[SpanId, None]) -> None:
        try:
            event = unpack_event(packed)
            if sequence <= gate.received:
                may_forget = self._handler.is_settled(event.id)
            else:
                gate.received = sequence
                may_forget = self._hand_on(gate, event)
            if may_forget:
                settled[event.id] = None
        except Exception:  # one bad event must not cut a gate off, or be sent again for ever
            self._reject()

    def _hand_on(self, gate: ConnectedGate, event: SpanEvent | Whole) -> bool:
        """Pass an event to the handler; return whether the gate may forget its span."""
        may_forget = False
        for part in (event.opened, event.closed) if isinstance(event, Whole) else (event,):
            if gate.clock is None:
                may_forget = self._handler.event(gate.id, part)
            else:
                earliest = gate.clock.earliest(part.t) if isinstance(part, SpanOpened) else None
                may_forget = self._handler.event(gate.id, gate.clock.moved(part), earliest)
        return may_forget

    def _send_settled(self, gate: ConnectedGate, ids: Collection[SpanId]) -> None:
        if gate.clock is not None:
            gate.clock.forget(ids)
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
