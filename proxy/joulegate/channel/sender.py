"""The gate's end of the channel: takes events at any time, hands them over when there is a meter."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never
from uuid import uuid4

from msgspec import Raw, structs

from joulegate import clock
from joulegate.channel.frames import (
    VERSION,
    Events,
    FrameError,
    Goodbye,
    Hello,
    MeterFrame,
    Ping,
    Pong,
    RefusedConnection,
    ReportFrame,
    SettledSpans,
    Welcome,
    pack,
    unpack_meter,
    version_problem,
)
from joulegate.channel.gathering import GatheredEvent, Gathering
from joulegate.channel.retained import Bounds, Retained
from joulegate.channel.stream import BEAT_SECONDS, FrameReader, until_one_fails, until_silent
from joulegate.channel.transports import Connector, refused_by_tls
from joulegate.errors import JoulegateError
from joulegate.log import logger
from joulegate.model import Figures, GateReport, Limits, SpanEvent
from joulegate.ports import GateControl
from joulegate.units import Nanoseconds

BATCH = 1 << 16
"""Bytes of events in one frame: more would hold the meter's loop for longer than a few milliseconds."""
FLUSH_EVERY = 0.05
"""Seconds between two flushes: one write carries the events of all requests of that time. A request that
begins is held back for two of them, for most end within that time and then cost one event."""
REPORT_EVERY = 1.0
WELCOME_WITHIN = 5.0
FIRST_RETRY, LAST_RETRY = 0.05, 1.0


class EventSender:
    """Keeps every event until its span is settled, and sends them all again to each meter that comes.

    ``emit`` may be called before ``run`` and during any outage. All methods belong to the loop of ``run``.
    """

    def __init__(
        self,
        connect: Connector,
        report: Callable[[], GateReport],
        *,
        control: GateControl | None = None,
        bounds: Bounds | None = None,
        beat: float = BEAT_SECONDS,
        now: Callable[[], Nanoseconds] = clock.monotonic,
        clock_id: str = "",
    ) -> None:
        self.ignored_parts = 0
        """Frames of meters, and fields of them, that this version does not know."""
        self._connect = connect
        self._report = report
        self._control = control
        self._beat = beat
        self._now = now
        self._clock_id = clock_id
        self._instance = uuid4().hex
        self._retained = Retained(bounds or Bounds())
        self._gathering = Gathering()
        self._unsent: deque[int] = deque()
        self._connected = False
        self._overflowing = False
        self._dropped_known = 0
        self._lost_said = False
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._log = logger("channel")

    @property
    def connected(self) -> bool:
        """A meter has answered and the connection stands."""
        return self._connected

    @property
    def dropped_events(self) -> int:
        """Events that no meter will ever see, because a bound was reached."""
        return self._retained.dropped

    @property
    def retained_spans(self) -> int:
        """Spans that wait for their settlement."""
        return self._retained.spans + len(self._gathering)

    def emit(self, event: SpanEvent) -> None:
        """Accept one event. Never blocks and never raises; what overflows the bounds is counted."""
        self._flushed.clear()
        self._tell(self._gathering.take(event) if self._connected else (event,))
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until a meter was sent every event so far; for ever if no meter comes."""
        self._tell(self._gathering.release())
        await self._flushed.wait()

    def _tell(self, events: Sequence[GatheredEvent]) -> None:
        """Keep events, and send them if somebody is there."""
        for event in events:
            sequence = self._retained.add(event)
            if self._overflowing or self._retained.dropped != self._dropped_known:
                self._watch_overflow()
            if sequence is not None and self._connected:
                self._unsent.append(sequence)

    async def run(self) -> None:
        """Connect, send, and connect again, until cancelled. No error ends it: requests need no meter."""
        wait = FIRST_RETRY
        while True:
            try:
                await self._converse()
            except Exception as error:  # a bug in a report must not take the gate's traffic down
                wait = FIRST_RETRY if self._connected else wait
                self._lost(
                    error, news=self._connected or wait >= LAST_RETRY or not isinstance(error, OSError)
                )
                if isinstance(error, JoulegateError):
                    wait = LAST_RETRY  # the same would come of it at once
            await asyncio.sleep(wait)
            wait = min(wait * 2, LAST_RETRY)

    async def _converse(self) -> None:
        reader, writer = await self._connect()
        try:
            await self._welcomed(reader, writer)
        except asyncio.CancelledError:
            writer.write(pack(Goodbye()))
            raise
        finally:
            writer.close()

    async def _welcomed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Report hello, then converse until the connection ends, always with an error."""
        # With a limit of 1, drain() returns when the kernel has every byte: no second, unbounded buffer.
        # With 0 a TLS transport pauses while it is empty, until something comes from the meter.
        writer.transport.set_write_buffer_limits(high=1, low=0)
        writer.write(pack(Hello(self._instance, self._figures(), VERSION, self._clock_id)))
        frames: FrameReader[MeterFrame] = FrameReader(reader, unpack_meter, self._ignored)
        self._found(await self._welcome(frames, writer), writer)
        await until_one_fails(
            self._listen(frames, writer),
            self._send_events(writer),
            self._send_reports(writer),
            until_silent(frames, lambda: None, beat=self._beat),
        )

    async def _welcome(self, frames: FrameReader[MeterFrame], writer: asyncio.StreamWriter) -> Welcome:
        try:
            async with asyncio.timeout(WELCOME_WITHIN):
                welcome = await frames.next()
        except TimeoutError:
            raise FrameError(f"what is there did not answer within {WELCOME_WITHIN:g} s") from None
        except (OSError, EOFError) as error:
            raise refused_by_tls(error, writer) or error from error
        if isinstance(welcome, RefusedConnection):
            raise FrameError(f"refused by the meter: {welcome.reason}")
        if not isinstance(welcome, Welcome):
            raise FrameError("the meter did not begin with a welcome")
        if problem := version_problem(welcome.version, "meter"):
            raise FrameError(problem)
        return welcome

    async def _listen(self, frames: FrameReader[MeterFrame], writer: asyncio.StreamWriter) -> None:
        while True:
            frame = await frames.next()
            match frame:
                case SettledSpans(ids=ids):
                    self._retained.settle(ids)
                    self._watch_overflow()
                case Ping(t=asked):
                    writer.write(pack(Pong(asked, self._now())))
                case Figures():
                    if self._control:
                        self._control.figures(frame)
                case Limits():
                    if self._control:
                        self._control.limits(frame)
                case RefusedConnection(reason=reason):
                    raise FrameError(f"refused by the meter: {reason}")
                case Welcome():
                    raise FrameError("the meter welcomed this gate twice")
                case _:
                    assert_never(frame)

    async def _send_events(self, writer: asyncio.StreamWriter) -> None:
        while True:
            while batch := self._next_batch():
                writer.write(pack(Events(batch)))
                await writer.drain()
                self._retained.handed_over(batch[-1][0])
            if not self._gathering:
                self._wake.clear()
                self._flushed.set()
                await self._wake.wait()
            await asyncio.sleep(FLUSH_EVERY)
            self._tell(self._gathering.moment())

    async def _send_reports(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            writer.write(pack(ReportFrame(self._figures())))
            await writer.drain()

    def _next_batch(self) -> list[tuple[int, Raw]]:
        """Accept unsent events off the queue, about ``BATCH`` bytes and never more than a frame holds."""
        batch: list[tuple[int, Raw]] = []
        size = 0
        while self._unsent and size < BATCH:
            sequence = self._unsent.popleft()
            packed = self._retained.get(sequence)
            if packed is not None:
                batch.append((sequence, Raw(packed)))
                size += len(packed)
        return batch

    def _found(self, welcome: Welcome, writer: asyncio.StreamWriter) -> None:
        writer.write(pack(Pong(welcome.t, self._now())))  # before any event: the meter dates them by it
        self._unsent = deque(self._retained.sequences())
        self._connected = True
        self._lost_said = False
        self._log.info("channel.connected", meter=welcome.instance, spans=self._retained.spans)

    def _lost(self, error: Exception, *, news: bool) -> None:
        """Record that there is no meter; at the start that is no news for the seconds that one takes."""
        self._connected = False
        self._tell(self._gathering.release())
        self._unsent.clear()
        if self._retained.spans:
            self._flushed.clear()  # what the lost meter had is to be sent again
        if news and not self._lost_said:
            self._lost_said = True
            self._log.warning("channel.lost", reason=str(error) or type(error).__name__)

    def _figures(self) -> GateReport:
        return structs.replace(
            self._report(), dropped_events=self._retained.dropped, ignored_parts=self.ignored_parts
        )

    def _ignored(self, parts: int) -> None:
        """Count what a newer meter says and this gate does not know; say so the first time."""
        if not self.ignored_parts:
            self._log.warning("channel.ignored", parts=parts, note="the meter is of a newer version")
        self.ignored_parts += parts

    def _watch_overflow(self) -> None:
        """Report once that events are dropped, and once that there is room again."""
        if self._retained.dropped == self._dropped_known and not self._overflowing:
            return
        dropping = self._retained.full and self._retained.dropped > self._dropped_known
        self._dropped_known = self._retained.dropped
        if dropping and not self._overflowing:
            self._overflowing = True
            self._log.error("channel.overflowed", spans=self._retained.spans, size_bytes=self._retained.size)
        if self._overflowing and not self._retained.full:
            self._overflowing = False
            self._log.info("channel.recovered", dropped_events=self._retained.dropped)
