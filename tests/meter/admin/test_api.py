"""The admin address answers real clients, reads only, and says what is wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from joulegate.errors import LedgerUnavailable
from joulegate.ledger.rows import Batch, BooksTotal, LedgerEntry
from joulegate.ledger.sqlite import Ledger
from joulegate.meter.admin.api import application
from joulegate.meter.requests.settlement import Settlement
from joulegate.model import DeviceStatus, MeterStatus, RequestRecord
from joulegate.report.study import StudyReport
from joulegate.units import Microjoules, Nanoseconds


class FakeMeter:
    """A meter that is as a test says."""

    def __init__(self, words: Any, find: Callable[[str], RequestRecord | None]) -> None:
        self.ready = True
        self.degraded = ""
        self.find = find
        self._device = words.device

    def status(self) -> MeterStatus:
        device = DeviceStatus(
            device=self._device, up=True, power=None, idle_power=None, measured=Microjoules(10),
            requests=Microjoules(7), idle=Microjoules(3), unattributed=(), conservation_error=0,
            gap=Nanoseconds(0), resets=0, stalled=False, errors=(), rejected=(), last_sample_age=None,
        )  # fmt: skip
        return MeterStatus(
            version="0", now=Nanoseconds(0), uptime=Nanoseconds(0), method="tokens", boundary="gpu",
            ready=self.ready, degraded=self.degraded, devices=(device,), upstreams=(), gates=(), totals=(),
            budgets=(), carbon=None, ledger=None, pending=3,
        )  # fmt: skip

    def books(self) -> tuple[BooksTotal, ...]:
        return (BooksTotal(device=self._device.id, counter=Microjoules(5), idle=Microjoules(5)),)


class FakeExporter:
    """Counts what it renders."""

    content_types = ("text/plain", "application/openmetrics-text")

    def __init__(self) -> None:
        self.renders = 0

    def settled(self, record: Any) -> None: ...

    def booked(self, books: Any) -> None: ...

    def freeze(self, status: MeterStatus) -> object:
        return status.version

    def render(self, frozen: object, accept: str) -> tuple[bytes, str]:
        self.renders += 1
        kind = (
            "application/openmetrics-text; version=1.0.0"
            if "openmetrics" in accept
            else "text/plain; version=0.0.4"
        )
        return f"joulegate_version {frozen}\n".encode(), kind


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    ledger = Ledger.open(tmp_path / "l.db")
    ledger.start(lambda ids: None)
    yield ledger
    ledger.close()


@pytest.fixture
def record(settlement: Settlement, attributor: Any, words: Any) -> RequestRecord:
    for event in (words.opened("a", client_request_id="theirs"), words.closed("a")):
        settlement.event("gate", event)
    attributor.give([words.settled("a", 3_600_000)], [words.window(0, 3)])
    (record,) = settlement.advance(words.at(4), words.at(1_004)).records
    return record


@pytest.fixture
def meter(words: Any, ledger: Ledger) -> FakeMeter:
    return FakeMeter(words, ledger.find)


@pytest.fixture
def exporter() -> FakeExporter:
    return FakeExporter()


@pytest.fixture
async def client(meter: FakeMeter, ledger: Ledger, exporter: FakeExporter) -> AsyncIterator[Any]:
    async with TestClient(TestServer(application(meter, ledger.reader, exporter))) as client:
        yield client


async def test_a_hundred_parallel_scrapes_are_one_render(client: Any, exporter: FakeExporter) -> None:
    """Scraping costs the meter the same however many do it."""

    async def scrape() -> str:
        async with client.get("/metrics") as answer:
            return str(await answer.text())

    async with asyncio.TaskGroup() as group:
        scrapes = [group.create_task(scrape()) for _ in range(100)]
    assert {scrape.result() for scrape in scrapes} == {"joulegate_version 0\n"}
    assert exporter.renders == 1


async def test_a_scraper_gets_the_format_it_asks_for(client: Any) -> None:
    """The content type is the exporter's own."""
    for accept, kind in (
        ("text/plain", "text/plain; version=0.0.4"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
    ):
        answer = await client.get("/metrics", headers={"Accept": accept})
        assert (answer.status, answer.headers["Content-Type"]) == (200, kind)


async def test_readiness_follows_the_meter(client: Any, meter: FakeMeter) -> None:
    """Degraded stays in service and says why; draining does not."""
    assert (await client.get("/healthz")).status == 200
    meter.degraded = "watts are modelled"
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (200, "degraded: watts are modelled\n")
    meter.ready = False
    answer = await client.get("/readyz")
    assert (answer.status, "draining" in await answer.text()) == (503, True)
    assert (await client.get("/healthz")).status == 200


async def test_alerts_lead_to_a_page(client: Any) -> None:
    """The runbook opens in a browser where the metrics are."""
    answer = await client.get("/runbook")
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert 'id="gpulost"' in await answer.text()


async def test_a_request_is_found_by_both_ids(client: Any, ledger: Ledger, record: RequestRecord) -> None:
    """Joules, method, boundary and whether the figure is final."""
    ledger.append(Batch(entries=(LedgerEntry(record),)))
    for name in ("a", "theirs"):
        answer = await client.get(f"/v1/requests/{name}")
        assert answer.status == 200
        body = await answer.json()
        assert (body["id"], body["energy_joules"], body["state"], body["boundary"], body["method"]) == (
            "a", 3.6, "final", "gpu", "tokens",
        )  # fmt: skip
        assert body["sigma_joules"] is None


@pytest.mark.parametrize("name", ["none", "%00", "%ED%A0%80", "x" * 2_000, "..%2F..%2Fetc"])
async def test_an_id_that_nobody_has_is_a_404(client: Any, name: str) -> None:
    """Whatever it is made of, the answer is JSON with a reason."""
    answer = await client.get(f"/v1/requests/{name}")
    assert (answer.status, "error" in await answer.json()) == (404, True)


async def test_the_status_is_the_struct_itself(client: Any, meter: FakeMeter) -> None:
    """``top`` reads back what the meter has."""
    answer = await client.get("/v1/status")
    assert msgspec.json.decode(await answer.read(), type=MeterStatus) == meter.status()


async def test_books_are_in_joules(client: Any) -> None:
    """The proof is on the page."""
    ((books),) = await (await client.get("/v1/books")).json()
    assert (books["measured_joules"], books["error_microjoules"]) == (5e-6, 0)


async def test_the_report_has_table_and_origin(client: Any, ledger: Ledger, record: RequestRecord) -> None:
    """3.6 J a request are 0.001 kWh per 1,000; tier, boundary and balance stand beside it."""
    ledger.append(Batch(entries=(LedgerEntry(record),)))
    await asyncio.to_thread(ledger.flush, 10)
    answer = await client.get("/v1/report", params={"since": "1970-01-01", "by": "task,model"})
    found = msgspec.json.decode(await answer.read(), type=StudyReport)
    ((row),) = found.rows
    assert (row.group, row.requests) == ({"task": "chat", "model": "asked"}, 1)
    assert row.kwh_per_1000 == pytest.approx(0.001)
    assert (found.boundary, found.balanced, found.pending) == ("gpu", True, 3)
    assert [(origin.tier, origin.measured_joules) for origin in found.origins] == [("synthetic", 1e-5)]
    empty = await client.get("/v1/report", params={"since": "1 h"})
    assert (await empty.json())["rows"] == []


@pytest.mark.parametrize(
    ("query", "says"),
    [({"by": "record"}, "none of task"), ({"since": "soon"}, "is no time"), ({"until": "x"}, "is no time")],
)
async def test_a_wrong_question_is_a_400_with_the_remedy(
    client: Any, query: dict[str, str], says: str
) -> None:
    """The message names the choices."""
    answer = await client.get("/v1/report", params=query)
    assert (answer.status, says in (await answer.json())["error"]) == (400, True)


async def test_it_only_reads(client: Any) -> None:
    """Other methods, other paths and bodies are refused, as JSON."""
    for answer, status in (
        (await client.post("/v1/status"), 405),
        (await client.get("/v1/none"), 404),
        (await client.get("/v1/status", data=b"x" * 10), 413),
    ):
        assert (answer.status, "error" in await answer.json()) == (status, True)
    assert (
        "Access-Control-Allow-Origin"
        not in (await client.get("/v1/status", headers={"Origin": "http://evil"})).headers
    )


async def test_a_ledger_that_fails_is_a_503(client: Any, meter: FakeMeter) -> None:
    """The rest of the address goes on."""

    def fail(id_: str) -> RequestRecord | None:
        raise LedgerUnavailable("the ledger cannot be read: disk I/O error")

    meter.find = fail
    answer = await client.get("/v1/requests/a")
    assert (answer.status, "cannot be read" in (await answer.json())["error"]) == (503, True)
    assert (await client.get("/metrics")).status == 200


async def test_without_an_exporter_there_is_no_page(meter: FakeMeter, ledger: Ledger) -> None:
    """The answer says what to configure."""
    async with TestClient(TestServer(application(meter, ledger.reader, None))) as client:
        answer = await client.get("/metrics")
        assert (answer.status, "exporters" in (await answer.json())["error"]) == (404, True)
