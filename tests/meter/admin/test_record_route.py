"""A recording over the admin address: bounded in time, in number and in what waits for its reader."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from joulegate.ledger.sqlite import Ledger
from joulegate.meter.admin.api import application
from joulegate.meter.admin.record_route import NAME, RecordRoute
from joulegate.meter.recording.recorder import Recorder
from joulegate.meter.requests.settlement import Settlement
from joulegate.model import EnergySample, UpstreamSetup
from joulegate.units import NANO, Microjoules, Nanoseconds


@pytest.fixture
def recorder(settlement: Settlement, attributor: Any, words: Any, clock: Any) -> Recorder:
    settlement.sample(words.sample(1_000, 5_000))
    return Recorder(
        settlement,
        [words.device],
        {"llm": UpstreamSetup("llm", (words.gpu,))},
        method="tokens",
        health=attributor.health,
        now=clock.now,
        queued=2 << 20,
    )


@pytest.fixture
def app(recorder: Recorder, tmp_path: Path) -> Any:
    ledger = Ledger.open(tmp_path / "l.db")
    ledger.start(lambda ids: None)
    yield application(NoMeter(), ledger.reader, None, recorder)
    ledger.close()


class NoMeter:
    """Never asked here."""

    def status(self) -> Any:
        raise AssertionError

    def find(self, id_: str) -> Any:
        raise AssertionError

    def books(self) -> Any:
        raise AssertionError


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[Any]:
    async with TestClient(TestServer(app)) as client, asyncio.timeout(30):
        yield client


async def test_a_recording_is_streamed_and_ends_in_time(
    client: Any,
    recorder: Recorder,
    words: Any,
    clock: Any,
    read_back: Callable[[bytes, Path], Any],
    tmp_path: Path,
) -> None:
    """Its lines are a trace, its last one says how it ended."""
    answer = await client.get("/v1/record", params={"seconds": "10"})
    assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
    first = await answer.content.readline()
    assert first.startswith(b'{"setup":')
    recorder.event(words.opened("a", 1_001))
    recorder.event(words.closed("a", 1_002))
    clock.t += 11 * NANO
    text = first + await answer.read()
    trace = read_back(text, tmp_path / "out")
    assert list(trace.tasks) == ["a"]
    assert b'"reason":"done","seconds":10.0,"requests":1' in text.splitlines()[-1]


async def test_without_an_energy_source_a_recording_is_a_503(
    settlement: Settlement, attributor: Any, tmp_path: Path
) -> None:
    """The answer says what is missing."""
    ledger = Ledger.open(tmp_path / "l.db")
    recorder = Recorder(settlement, [], {}, method="tokens", health=attributor.health)
    app = application(NoMeter(), ledger.reader, None, recorder)
    async with TestClient(TestServer(app)) as client, asyncio.timeout(30):
        answer = await client.get("/v1/record")
        assert (answer.status, "no energy source" in (await answer.json())["error"]) == (503, True)
    ledger.close()


async def test_a_recording_is_ended_by_its_name(client: Any) -> None:
    """The rest comes on its own connection; a name that nobody has is a 404."""
    answer = await client.get("/v1/record")
    ended = await client.get(f"/v1/record/{answer.headers[NAME]}/end")
    assert await ended.json() == {"ended": True}
    assert b'"reason":"stopped"' in await answer.read()
    again = await client.get(f"/v1/record/{answer.headers[NAME]}/end")
    assert (again.status, "error" in await again.json()) == (404, True)


async def test_two_at_once_and_no_more(client: Any) -> None:
    """The third is told to try again; when one has ended there is room."""
    first, second = await client.get("/v1/record"), await client.get("/v1/record")
    third = await client.get("/v1/record")
    assert (third.status, "try again" in (await third.json())["error"]) == (429, True)
    await client.get(f"/v1/record/{first.headers[NAME]}/end")
    await first.read()
    fourth = await client.get("/v1/record")
    assert fourth.status == 200
    for answer in (second, fourth):
        answer.close()


async def test_a_reader_that_leaves_makes_room(client: Any, recorder: Recorder) -> None:
    """Nothing is kept for it any more."""
    for answer in [await client.get("/v1/record") for _ in range(2)]:
        answer.close()
    status = 429
    while status == 429:  # until the meter has found out
        answer = await client.get("/v1/record")
        status = answer.status
        answer.close()
    assert status == 200


@pytest.mark.parametrize("seconds", ["0", "-1", "3601", "nan", "inf", "soon", ""])
async def test_a_wrong_time_is_a_400(client: Any, seconds: str) -> None:
    """The message names the bounds."""
    answer = await client.get("/v1/record", params={"seconds": seconds})
    assert (answer.status, "up to 3600" in (await answer.json())["error"]) == (400, True)


async def test_a_silent_meter_gives_signs_of_life(client: Any) -> None:
    """Blank lines, so that a reader knows the connection from a dead one."""
    answer = await client.get("/v1/record")
    line = await answer.content.readline()
    while line.strip():
        line = await answer.content.readline()
    assert line == b"\n"
    answer.close()


async def test_a_slow_reader_is_cut_off_and_never_slows_the_meter(
    app: web.Application, recorder: Recorder, words: Any, clock: Any
) -> None:
    """What waits for it is bounded; it gets a whole trace up to there, and a last line that says so."""
    async with TestServer(app) as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 16)
        writer.write(b"GET /v1/record HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        taken = 0
        while not _has_ended(recorder):
            for _ in range(20_000):
                clock.t += 1
                recorder.sample(EnergySample(words.gpu, clock.now(), Microjoules(5_000_000)))
            taken += 20_000
            await asyncio.sleep(0)
        assert taken < 1_000_000
        text = b""
        while part := await reader.read(1 << 20):
            text = (text + part)[-4_096:]
        writer.close()
    assert b'"reason":"slow"' in text


async def test_a_reader_that_takes_nothing_is_let_go(recorder: Recorder, words: Any, clock: Any) -> None:
    """A meter that stops does not wait for it."""
    app = web.Application()
    app.router.add_get("/", RecordRoute(recorder, stuck=0.1).record)
    async with TestServer(app) as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 10)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        while recorder._recordings:
            for _ in range(5_000):
                clock.t += 1
                recorder.sample(EnergySample(words.gpu, clock.now(), Microjoules(5_000_000)))
            await asyncio.sleep(0)
        assert recorder.begin(Nanoseconds(NANO))
        writer.close()


def _has_ended(recorder: Recorder) -> bool:
    return all(recording.ended for recording in recorder._recordings.values())
