"""Nothing that a gate emits is lost, whatever becomes of the meter, and emitting never waits."""

import asyncio
import os
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from typing import Any

import pytest
import structlog
from msgspec import Raw

from joulegate.channel.frames import VERSION, Events, SettledSpans, Welcome, pack, unpack_gate
from joulegate.channel.receiver import EventServer
from joulegate.channel.retained import Bounds
from joulegate.channel.sender import EventSender
from joulegate.channel.stream import FrameReader
from joulegate.channel.transports import TlsListener, tls_connector
from joulegate.model import GateReport, SpanId

SMALL = Bounds(size=20_000, spans=20)


def ids(notes: Any) -> list[str]:
    return [event.id for _, event in notes.events]


async def connected(gate: EventSender) -> None:
    """Wait until a gate has its meter."""
    async with asyncio.timeout(5):
        while not gate.connected:
            await asyncio.sleep(0)


async def retains(gate: EventSender, spans: int) -> None:
    """Wait until a gate keeps this many spans."""
    async with asyncio.timeout(5):
        while gate.retained_spans != spans:
            await asyncio.sleep(0)


async def test_ten_thousand_events_keep_their_order(bench: Any, make_notes: Any, words: Any) -> None:
    """Events arrive whole and in the order in which each gate emitted them, also from several gates."""
    notes = make_notes()
    async with bench.meter(notes), AsyncExitStack() as stack:
        names = ["gate-0", "gate-1"]
        gates = [await stack.enter_async_context(bench.gate(name)) for name in names]
        sent: dict[str, list[Any]] = {name: [] for name in names}
        for number in range(1000):
            for name, gate in zip(names, gates, strict=True):
                span = f"{name}-{number}"
                for event in [words.opened(span), *[words.chunks(span)] * 3, words.closed(span)]:
                    gate.emit(event)
                    sent[name].append(event)
        await notes.until(lambda: len(notes.events) == 10_000)
    received = defaultdict(list)
    for name, event in notes.events:
        received[name].append(event)
    assert received == sent


async def test_events_of_an_outage_arrive_later(bench: Any, make_notes: Any, words: Any) -> None:
    """A gate that starts before its meter, or outlives it, loses nothing."""
    notes = make_notes()
    async with bench.gate() as gate:
        for event in words.span("a"):
            gate.emit(event)
        assert not gate.connected
        async with bench.meter(notes):
            await notes.until(lambda: ids(notes) == ["a"] * 3)


async def test_a_new_meter_gets_every_unsettled_span_and_no_settled_one(
    bench: Any, make_notes: Any, words: Any
) -> None:
    """A meter that was killed and restarted counts each request exactly once."""
    first, second = make_notes(), make_notes()
    async with bench.gate() as gate:
        async with bench.meter(first) as meter:
            for id_ in "abc":
                for event in words.span(id_):
                    gate.emit(event)
            gate.emit(words.opened("open"))
            await first.until(lambda: len(first.events) == 10)
            meter.settled({"gate-0": [SpanId("a")]})
            first.settled.add("a")
            await first.until(lambda: True)
            async with asyncio.timeout(5):
                while gate.retained_spans > 3:
                    await asyncio.sleep(0)
        gate.emit(words.closed("open"))
        for event in words.span("during"):
            gate.emit(event)
        second.settled.add("b")  # settled by the first meter, which died before it could say so
        async with bench.meter(second):
            await second.until(lambda: ids(second).count("during") == 3)
            assert ids(second) == ["c"] * 3 + ["open"] * 2 + ["during"] * 3
            await retains(gate, 3)
    assert gate.dropped_events == 0


async def test_a_broken_connection_to_the_same_meter_counts_nothing_twice(
    bench: Any, make_notes: Any, words: Any
) -> None:
    """What is sent again to the meter that has it changes nothing."""
    notes = make_notes()
    writers: list[asyncio.StreamWriter] = []

    async def connect_and_keep() -> Any:
        reader, writer = await bench.connect()
        writers.append(writer)
        return reader, writer

    async with bench.meter(notes):
        sender = EventSender(connect_and_keep, lambda: GateReport("gate-0", os.getpid()))
        task = asyncio.get_running_loop().create_task(sender.run())
        for event in words.span("a"):
            sender.emit(event)
        await notes.until(lambda: len(notes.events) == 3)
        writers[0].transport.abort()
        for event in words.span("b"):
            sender.emit(event)
        await notes.until(lambda: "b" in ids(notes) and len(notes.connected) == 2)
        await sender.flushed()
        await notes.until(lambda: len(notes.events) >= 6)
        task.cancel()
        await asyncio.wait([task])
    assert ids(notes) == ["a"] * 3 + ["b"] * 3


async def test_a_request_in_one_event_outlives_its_meter(bench: Any, make_notes: Any, words: Any) -> None:
    """It is kept and sent again as a whole, and the next meter hears both of its events."""
    first, second = make_notes(), make_notes()
    async with bench.gate() as gate:
        async with bench.meter(first):
            await connected(gate)
            gate.emit(words.opened("a"))
            gate.emit(words.closed("a"))
            await first.until(lambda: len(first.events) == 2)
            assert len(gate._retained.sequences()) == 1
        async with bench.meter(second):
            await second.until(lambda: len(second.events) == 2)
            second.settled.add("a")
    assert [event for _, event in second.events] == [words.opened("a"), words.closed("a")]


async def test_a_request_held_back_is_not_lost_with_its_meter(
    bench: Any, make_notes: Any, words: Any
) -> None:
    """What had not been sent is kept for the next one."""
    first, second = make_notes(), make_notes()
    async with bench.gate() as gate:
        async with bench.meter(first):
            await connected(gate)
            gate.emit(words.opened("a"))
        async with bench.meter(second):
            await second.until(lambda: ids(second) == ["a"])
            gate.emit(words.closed("a"))
            await second.until(lambda: ids(second) == ["a"] * 2)


async def test_an_outage_beyond_the_bounds_is_counted_and_said_once(
    bench: Any, make_notes: Any, words: Any
) -> None:
    """The gate gives up the oldest finished requests, and the meter learns how many events that were."""
    notes = make_notes()
    with structlog.testing.capture_logs() as logs:
        async with bench.gate(bounds=SMALL) as gate:
            for number in range(50):
                for event in words.span(f"s{number}"):
                    gate.emit(event)
            dropped = gate.dropped_events
            async with bench.meter(notes) as meter:
                await notes.until(lambda: ids(notes)[-1:] == ["s49"])
                assert notes.connected[0].dropped_events == dropped > 0
                meter.settled({"gate-0": {SpanId(id_) for id_ in ids(notes)}})
                await retains(gate, 0)
    kept = sorted(set(ids(notes)), key=lambda id_: int(id_[1:]))
    assert kept == [f"s{number}" for number in range(50 - len(kept), 50)]
    assert len(notes.events) + dropped == 150
    names = [line["event"] for line in logs]
    assert names.count("channel.overflowed") == names.count("channel.recovered") == 1


async def test_a_meter_that_does_not_read_holds_nothing_up(over_unix: Any, words: Any) -> None:
    """A stopped meter costs the gate its bounds of memory and no time."""

    async def welcome_and_stop_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await FrameReader(reader, unpack_gate).next()
        writer.write(pack(Welcome("m", VERSION)))
        writer.transport.pause_reading()
        stuck.set()
        await over.wait()
        writer.close()

    stuck, over = asyncio.Event(), asyncio.Event()
    server = await over_unix.listener().listen(welcome_and_stop_reading)
    bounds = Bounds(size=1 << 20)
    sender = EventSender(over_unix.connector, lambda: GateReport("g", 1), bounds=bounds)
    task = asyncio.get_running_loop().create_task(sender.run())
    await stuck.wait()
    for number in range(5000):
        for event in words.span(f"s{number}"):
            sender.emit(event)
        await asyncio.sleep(0)
    assert sender.retained_spans < 5000
    assert sender.dropped_events > 0
    assert sender._retained.size <= bounds.size
    task.cancel()
    await asyncio.wait([task])
    over.set()
    server.close()
    await server.wait_closed()


async def test_a_full_gate_whose_meter_works_reports_no_loss(bench: Any, make_notes: Any, words: Any) -> None:
    """A meter that settles slowly costs protection against its death, not events."""
    notes = make_notes()
    async with bench.meter(notes), bench.gate(bounds=SMALL) as gate:
        for number in range(60):
            for event in words.span(f"s{number}"):
                gate.emit(event)
            if number % 5 == 0:
                async with asyncio.timeout(5):
                    await gate.flushed()
        await notes.until(lambda: len(notes.events) == 180)
        assert gate.dropped_events == 0
        assert gate.retained_spans <= SMALL.spans


async def test_flushed_means_that_the_kernel_has_it(over_unix: Any, words: Any) -> None:
    """No second buffer holds what the gate believes to be sent."""
    writers: list[asyncio.StreamWriter] = []
    over = asyncio.Event()

    async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        writer.write(pack(Welcome("m", VERSION)))
        await over.wait()
        writer.close()

    async def connect() -> Any:
        reader, writer = await over_unix.connect()
        writers.append(writer)
        return reader, writer

    server = await over_unix.listener().listen(never_read)
    sender = EventSender(connect, lambda: GateReport("g", 1))
    task = asyncio.get_running_loop().create_task(sender.run())
    sender.emit(words.opened("a"))
    buffered: list[int] = []

    async def fill() -> None:
        while True:
            sender.emit(words.chunks("a", 2000))
            async with asyncio.timeout(0.5):
                await sender.flushed()
            buffered.append(writers[0].transport.get_write_buffer_size())

    with pytest.raises(TimeoutError):
        await fill()
    assert len(buffered) > 1
    assert set(buffered) == {0}
    task.cancel()
    await asyncio.wait([task])
    over.set()
    server.close()
    await server.wait_closed()


async def test_after_a_long_outage_a_short_one_is_short_again(bench: Any, make_notes: Any) -> None:
    """The wait between tries grows during an outage, and starts small at the next."""
    loop = asyncio.get_running_loop()
    tries: list[float] = []
    notes = make_notes()

    async def connect() -> Any:
        tries.append(loop.time())
        if len(tries) < 5:
            raise ConnectionRefusedError
        reader, writer = await bench.connect()
        if len(tries) == 5:
            loop.call_later(0.1, writer.transport.abort)
        return reader, writer

    async with bench.meter(notes):
        task = loop.create_task(EventSender(connect, lambda: GateReport("g", os.getpid())).run())
        await notes.until(lambda: len(notes.connected) == 2)
        task.cancel()
        await asyncio.wait([task])
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert waits[3] > 0.35
    assert waits[4] - 0.1 < 0.6


async def test_a_meter_that_only_listens_gets_every_event(bench: Any, words: Any) -> None:
    """A transport that waits for the other end's word before it goes on would stop at the second write."""
    batches: asyncio.Queue[int] = asyncio.Queue()
    over = asyncio.Event()

    async def only_listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader(reader, unpack_gate)
        await frames.next()
        writer.write(pack(Welcome("m", VERSION)))
        with suppress(EOFError, OSError):
            while True:
                if isinstance(frame := await frames.next(), Events):
                    batches.put_nowait(len(frame.items))
        writer.close()
        over.set()

    server = await bench.listener().listen(only_listen)
    sender = EventSender(bench.connector, lambda: GateReport("g", 1))
    task = asyncio.get_running_loop().create_task(sender.run())
    await connected(sender)
    async with asyncio.timeout(2):
        for number in range(6):
            sender.emit(words.opened(f"s{number}"))
            sender.emit(words.chunks(f"s{number}"))
            await batches.get()
    task.cancel()
    await asyncio.wait([task])
    await over.wait()
    server.close()
    await server.wait_closed()


async def test_flushed_waits_until_the_meter_was_sent_everything(
    bench: Any, make_notes: Any, words: Any
) -> None:
    """A gate that ends can wait for its last events to be on their way."""
    notes = make_notes()
    async with bench.gate() as gate:
        gate.emit(words.opened("a"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await gate.flushed()
        async with bench.meter(notes):
            async with asyncio.timeout(5):
                await gate.flushed()
            await notes.until(lambda: ids(notes) == ["a"])
        while gate.connected:
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):  # the meter that had it is gone: the next one needs it
            async with asyncio.timeout(0.01):
                await gate.flushed()


async def test_the_gate_reports_about_once_a_second(bench: Any, make_notes: Any) -> None:
    """The meter shows figures of each gate that are a second old at most."""
    notes = make_notes()
    async with bench.meter(notes), bench.gate("gate-7", pid=os.getpid()):
        await notes.until(lambda: bool(notes.reports))
    assert notes.connected == [GateReport("gate-7", os.getpid())]
    assert notes.reports[0] == notes.connected[0]


async def test_a_fault_in_the_report_does_not_end_the_channel(bench: Any) -> None:
    """Traffic does not depend on a gate's figures: the fault is said, and tried again."""
    tries = asyncio.Semaphore(0)

    def report() -> GateReport:
        tries.release()
        raise ZeroDivisionError

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await bench.listener().listen(accept)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.get_running_loop().create_task(EventSender(bench.connector, report).run())
        async with asyncio.timeout(5):
            await tries.acquire()
            await tries.acquire()
        task.cancel()
        await asyncio.wait([task])
    server.close()
    await server.wait_closed()
    assert [line["event"] for line in logs] == ["channel.lost"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        pack(SettledSpans([SpanId("a")])),
        pack(Welcome("m", VERSION)) + pack(Welcome("m", VERSION)),
        b"\x00\x00\x00\x01\xc1",
    ],
)
async def test_what_is_no_meter_is_left_and_tried_again(bench: Any, words: Any, answer: bytes) -> None:
    """Garbage from the other end costs a reconnection, never an event."""
    batches: asyncio.Queue[Raw] = asyncio.Queue()
    answers = [pack(Welcome("m", VERSION)), answer]
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader(reader, unpack_gate)
        try:
            await frames.next()
            seen.append(answers.pop())
            writer.write(seen[-1])
            while True:
                frame = await frames.next()
                for _, raw in getattr(frame, "items", ()):
                    batches.put_nowait(raw)
        except (EOFError, OSError):
            writer.close()

    server = await bench.listener().listen(serve)
    sender = EventSender(bench.connector, lambda: GateReport("g", 1))
    sender.emit(words.opened("a"))
    task = asyncio.get_running_loop().create_task(sender.run())
    async with asyncio.timeout(5):
        await batches.get()
        if len(seen) < 2:
            await batches.get()
    task.cancel()
    await asyncio.wait([task])
    server.close()
    await server.wait_closed()
    assert sender.retained_spans == 1


async def reason_for_no_meter(sender: EventSender) -> str:
    """Why a gate says that it has no meter, the first time."""
    with structlog.testing.capture_logs() as logs:
        task = asyncio.get_running_loop().create_task(sender.run())
        async with asyncio.timeout(5):
            while not any(line["event"] == "channel.lost" for line in logs):
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
    return str(next(line["reason"] for line in logs if line["event"] == "channel.lost"))


async def test_a_gate_of_another_authority_says_why_it_has_no_meter(
    port: int, authority: Any, make_authority: Any, make_notes: Any
) -> None:
    """A meter that does not believe the gate, and one that the gate does not believe, are told apart."""
    other = make_authority()
    notes = make_notes()
    server = EventServer(TlsListener("127.0.0.1", port, authority.files("127.0.0.1")), notes)
    await server.start()
    stranger = other.files("127.0.0.1", trusted=authority)
    doubter = other.files("127.0.0.1")
    reasons = [
        await reason_for_no_meter(
            EventSender(tls_connector("127.0.0.1", port, files), lambda: GateReport("g", 1))
        )
        for files in (stranger, doubter)
    ]
    await server.stop()
    assert "does not accept this gate's certificate" in reasons[0]
    assert "the meter's certificate is not accepted" in reasons[1]
    assert notes.connected == []


async def test_a_peer_without_tls_is_left_with_a_clear_word(port: int, authority: Any) -> None:
    """One that accepts and says nothing, and one that speaks something else."""
    over = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    reasons = []
    for serve in (hold, answer):
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        connect = tls_connector("127.0.0.1", port, authority.files("127.0.0.1"), within=0.05)
        reasons.append(await reason_for_no_meter(EventSender(connect, lambda: GateReport("g", 1))))
        over.set()
        server.close()
        await server.wait_closed()
    assert (
        reasons[0] == f"127.0.0.1:{port}: what listens there did not begin TLS within 0.05 s; is it a meter?"
    )
    assert reasons[1].startswith(f"127.0.0.1:{port}: no meter that speaks TLS 1.3")
