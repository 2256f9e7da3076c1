"""The meter knows which gates live, believes no garbage, and leaves no socket behind."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from msgspec import structs

from joulegate import clock
from joulegate.channel.frames import (
    VERSION,
    FrameSplitter,
    Hello,
    Ping,
    RefusedConnection,
    ReportFrame,
    pack,
    unpack_meter,
)
from joulegate.channel.receiver import EventServer
from joulegate.channel.stream import SILENT_BEATS
from joulegate.channel.transports import UnixListener
from joulegate.errors import ConfigError
from joulegate.model import GateReport, SpanId
from joulegate.units import NANO, Nanoseconds

REPORT = GateReport("gate-0", os.getpid())

GATE = """
import asyncio, os, sys
from pathlib import Path
from joulegate.channel.sender import EventSender
from joulegate.channel.transports import unix_connector
from joulegate.model import GateReport, SpanId, SpanOpened, Task
sender = EventSender(unix_connector(Path(sys.argv[1])), lambda: GateReport("gate-0", os.getpid()))
sender.emit(SpanOpened(SpanId("a"), 1, "llm", "openai", Task.CHAT))
asyncio.run(sender.run())
"""


async def test_a_killed_gate_is_lost_exactly_once(over_unix: Any, socket_path: Path, make_notes: Any) -> None:
    """Open requests of a gate of this host that was killed are closed by the meter at once."""
    notes = make_notes()
    async with over_unix.meter(notes, come_back_within=600) as meter:
        process = subprocess.Popen([sys.executable, "-c", GATE, str(socket_path)])
        await notes.until(lambda: len(notes.events) == 1)
        process.kill()
        await notes.until(lambda: bool(notes.lost))
        await meter.alone()
        process.wait()
    assert notes.lost == ["gate-0"]


async def test_a_gate_that_comes_back_in_time_is_not_lost(bench: Any, make_notes: Any) -> None:
    """A broken connection of a living gate closes none of its requests."""
    notes = make_notes()
    hello = pack(Hello("i", REPORT, VERSION))
    async with bench.meter(notes, come_back_within=0.3) as meter:
        reader, writer = await bench.connect()
        writer.write(hello)
        await reader.read(1)
        writer.close()
        reader, writer = await bench.connect()
        writer.write(hello)
        await notes.until(lambda: len(notes.connected) == 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):
                await meter.alone()
        assert notes.lost == []
        writer.close()


async def test_a_gate_that_stays_away_is_lost(bench: Any, make_notes: Any) -> None:
    """A gate that hangs for good does not keep its requests open for ever."""
    notes = make_notes()
    loop = asyncio.get_running_loop()
    async with bench.meter(notes, come_back_within=0.5):
        _, writer = await bench.connect()
        writer.write(pack(Hello("i", REPORT, VERSION)))
        await notes.until(lambda: bool(notes.connected))
        writer.close()
        left = loop.time()
        await notes.until(lambda: bool(notes.lost))
        assert loop.time() - left > 0.4
    assert notes.lost == ["gate-0"]


async def test_a_gate_of_another_host_has_more_time(bench: Any, make_notes: Any) -> None:
    """A network is away for longer than a process, and no process table tells that a gate is gone."""
    notes = make_notes()
    async with bench.meter(notes, come_back_within=0.0, remote_come_back_within=0.5) as meter:
        _, writer = await bench.connect()
        writer.write(pack(Hello("i", REPORT, VERSION, clock="another")))
        await notes.until(lambda: bool(notes.connected))
        writer.close()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await meter.alone()
        await notes.until(lambda: bool(notes.lost))


async def test_a_gate_whose_clock_is_a_day_ahead_is_understood(
    bench: Any, make_notes: Any, words: Any
) -> None:
    """The welcome is the first heartbeat: no event of a remote gate comes with its own times."""
    notes = make_notes()

    def tomorrow() -> Nanoseconds:
        return Nanoseconds(clock.monotonic() + 86_400 * NANO)

    async with (
        bench.meter(notes, clock_id="here") as meter,
        bench.gate(clock_id="there", now=tomorrow) as gate,
    ):
        before = clock.monotonic()
        gate.emit(structs.replace(words.opened("a"), t=tomorrow()))
        await notes.until(lambda: bool(notes.events))
        [found] = meter.status().clocks
        assert abs(found.offset + 86_400 * NANO) <= found.bound < NANO
    assert abs(notes.events[0][1].t - before) < NANO


async def test_a_gate_that_says_goodbye_leaves_without_alarm(bench: Any, make_notes: Any) -> None:
    """An ordinary end of a gate is told to the handler at once and is no warning."""
    notes = make_notes()
    with structlog.testing.capture_logs() as logs:
        async with bench.meter(notes, come_back_within=600) as meter:
            async with bench.gate(pid=os.getpid()):
                await notes.until(lambda: bool(notes.connected))
            async with asyncio.timeout(5):
                await meter.alone()
            assert notes.lost == ["gate-0"]
    assert [line for line in logs if line["log_level"] != "info"] == []


async def test_stopping_declares_nobody_lost(bench: Any, make_notes: Any, words: Any) -> None:
    """A meter that ends knows nothing of its gates' further life."""
    notes = make_notes()
    async with bench.gate() as gate:
        async with bench.meter(notes):
            gate.emit(words.opened("a"))
            await notes.until(lambda: bool(notes.events))
        assert notes.lost == []
        with pytest.raises(OSError):
            await bench.connect()


async def test_alone_waits_for_the_last_gate(bench: Any, make_notes: Any) -> None:
    """A meter that is told to end can first hear its gates out."""
    notes = make_notes()
    async with bench.meter(notes) as meter:
        await meter.alone()
        async with bench.gate(pid=os.getpid()):
            await notes.until(lambda: bool(notes.connected))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await meter.alone()
        async with asyncio.timeout(5):
            await meter.alone()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x02ab",
        pack(ReportFrame(REPORT)),
        pack(Hello("i", REPORT, VERSION)) * 2,
        pack(Hello("i", REPORT, VERSION)) + b"\xff\xff\xff\xff",
        pack(Hello("i", REPORT, VERSION)) + b"\x40\x00\x00\x00",
        pack(Hello("i", REPORT)),
    ],
)
async def test_garbage_ends_its_connection_and_no_other(
    bench: Any, make_notes: Any, words: Any, garbage: bytes
) -> None:
    """What is not a gate's language is counted, said once, and costs the other gates nothing."""
    notes = make_notes()
    with structlog.testing.capture_logs() as logs:
        async with bench.meter(notes) as meter, bench.gate("honest") as gate:
            for number in (1, 2):
                reader, writer = await bench.connect()
                writer.write(garbage)
                async with asyncio.timeout(5):
                    while await reader.read(1000):
                        pass
                writer.close()
                assert sum(dict(meter.status().refused).values()) == number
            gate.emit(words.opened("a"))
            await notes.until(lambda: bool(notes.events))
    assert [line["event"] for line in logs].count("channel.refused") == 1


async def test_a_connection_that_says_nothing_is_closed(bench: Any, make_notes: Any) -> None:
    """A silent connection does not stay for ever."""
    async with bench.meter(make_notes(), hello_within=0.01) as meter:
        reader, writer = await bench.connect()
        async with asyncio.timeout(5):
            assert b"said nothing for 0.01 s" in await reader.read()
        writer.close()
        assert dict(meter.status().refused)["silent"] == 1


async def test_a_silent_gate_is_lost_although_its_connection_stands(bench: Any, make_notes: Any) -> None:
    """A cut cable says nothing: three seconds of silence end the connection, and its grace begins."""
    notes = make_notes()
    async with bench.meter(notes, beat=0.02, come_back_within=0.01):
        reader, writer = await bench.connect()
        writer.write(pack(Hello("i", REPORT, VERSION)))
        await notes.until(lambda: bool(notes.lost))
        async with asyncio.timeout(5):
            heard = await reader.read()
        writer.close()
    frames = [unpack_meter(body) for body in FrameSplitter().feed(heard)]
    assert sum(isinstance(frame, Ping) for frame in frames) == SILENT_BEATS
    assert notes.lost == ["gate-0"]


async def test_a_gate_without_traffic_stays_connected(bench: Any, make_notes: Any) -> None:
    """Heartbeats both ways keep a connection over which nothing else passes."""
    notes = make_notes()
    loop = asyncio.get_running_loop()
    async with bench.meter(notes, beat=0.02), bench.gate(beat=0.02) as gate:
        await notes.until(lambda: bool(notes.connected))
        until = loop.time() + 0.02 * SILENT_BEATS * 3
        while loop.time() < until:
            await asyncio.sleep(0)
        assert gate.connected
    assert len(notes.connected) == 1


async def test_a_frame_of_another_version_is_passed_over_and_counted(
    bench: Any, make_notes: Any, words: Any
) -> None:
    """A newer gate may say more than this meter knows: the rest of what it says counts."""
    notes = make_notes()
    newer = msgspec.msgpack.encode({"type": "goodbye", "why": "upgrade", "when": 3})
    unknown = msgspec.msgpack.encode({"type": "teleport", "to": "mars"})
    frames = [len(body).to_bytes(4, "big") + body for body in (unknown, newer)]
    async with bench.meter(notes, come_back_within=600) as meter:
        _, writer = await bench.connect()
        writer.write(pack(Hello("i", REPORT, VERSION)) + b"".join(frames))
        writer.close()
        await notes.until(lambda: bool(notes.lost))
        assert meter.status().ignored_parts == 3
        assert set(dict(meter.status().refused).values()) == {0}


async def test_a_refused_gate_hears_why(bench: Any, make_notes: Any) -> None:
    """The reason stands in the gate's log too, not only in the meter's."""
    async with bench.meter(make_notes()) as meter:
        reader, writer = await bench.connect()
        writer.write(pack(Hello("i", REPORT)))
        async with asyncio.timeout(5):
            heard = await reader.read()
        writer.close()
        refused = dict(meter.status().refused)
    assert {reason for reason, times in refused.items() if times} == {"version"}
    [frame] = [unpack_meter(body) for body in FrameSplitter().feed(heard)]
    assert isinstance(frame, RefusedConnection)
    assert "run the same joulegate on both" in frame.reason


async def test_settled_spans_leave_the_gate(bench: Any, make_notes: Any, words: Any) -> None:
    """What the meter has settled is no longer kept by the gate."""
    notes = make_notes()
    async with bench.meter(notes) as meter, bench.gate() as gate:
        for event in words.span("a"):
            gate.emit(event)
        await notes.until(lambda: len(notes.events) == 3)
        assert gate.retained_spans == 1
        meter.settled({"gate-0": [SpanId("a")]})
        async with asyncio.timeout(5):
            while gate.retained_spans:
                await asyncio.sleep(0)


async def test_a_meter_that_cannot_listen_says_why(make_notes: Any, socket_path: Path) -> None:
    """The error names the path, and stopping what never started does nothing."""
    socket_path.write_text("")
    notes = make_notes()
    server = EventServer(UnixListener(socket_path), notes)
    with pytest.raises(ConfigError, match=str(socket_path)):
        await server.start()
    await server.stop()
    assert socket_path.exists()
