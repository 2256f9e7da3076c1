"""A meter to ask: a real HTTP server with prepared answers."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from click.testing import CliRunner, Result

from joulegate.cli.root import root
from joulegate.model import (
    BudgetStatus,
    CarbonStatus,
    Device,
    DeviceId,
    DeviceStatus,
    GateStatus,
    LedgerStatus,
    MeterStatus,
    Task,
    TaskTotals,
    Tier,
    UpstreamStatus,
)
from joulegate.units import NANO, UJ_PER_KWH, Micrograms, Microjoules, Microwatts, Nanoseconds

KWH = UJ_PER_KWH


def device(index: int, tier: Tier = Tier.COUNTER) -> DeviceStatus:
    return DeviceStatus(
        device=Device(DeviceId(f"GPU-{index}"), index, "NVIDIA H100", "nvml", tier),
        up=True,
        power=Microwatts(312_400_000),
        idle_power=Microwatts(71_200_000),
        measured=Microjoules(2 * KWH),
        requests=Microjoules(KWH),
        idle=Microjoules(KWH // 2),
        unattributed=(("foreign", Microjoules(KWH // 2)),),
        conservation_error=0,
        gap=Nanoseconds(0),
        resets=0,
        stalled=False,
        errors=(),
        rejected=(),
        last_sample_age=Nanoseconds(100_000_000),
    )


def total(task: Task, model: str, requests: int, energy: int) -> TaskTotals:
    return TaskTotals(task, model, requests, Microjoules(energy), Micrograms(energy // 64))


STATUS = MeterStatus(
    version="0.1.0",
    now=Nanoseconds(1_800_000_000 * NANO),
    uptime=Nanoseconds(11_535 * NANO),
    method="tokens",
    boundary="gpu",
    ready=True,
    degraded="",
    devices=(device(0), device(1)),
    upstreams=(
        UpstreamStatus("text", "http://127.0.0.1:8000", "llm", 3, ("GPU-0",), up=True),
        UpstreamStatus("image", "http://127.0.0.1:8001", "image", 0, ("GPU-1",), up=False),
    ),
    gates=(GateStatus("g0", 1, True, 3, 0, 0, Nanoseconds(0)),),
    totals=(
        total(Task.CHAT, "gemma-3-270m", 1_200, KWH // 20),
        total(Task.IMAGE_GENERATION, "sdxl", 80, KWH * 8 // 10),
        total(Task.EMBEDDINGS, "nano-e5", 0, 0),
    ),
    budgets=(
        BudgetStatus("all", "joules", 40 * KWH, 25 * KWH, 25 * KWH, Nanoseconds(0), Nanoseconds(1)),
        BudgetStatus("co2", "grams", 8 * 10**9, 9 * 10**9, 9 * 10**9, Nanoseconds(0), Nanoseconds(1)),
    ),
    carbon=CarbonStatus("FRA", "Ember", 2023, "CC BY 4.0", "location", Micrograms(56_000_000), None),
    ledger=LedgerStatus("/x/ledger.db", 1_280, 0, 0, 0, Nanoseconds(0)),
    pending=2,
)


class FakeMeter:
    """Answers of an admin address by path; ``None`` is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {"/v1/status": msgspec.json.encode(STATUS)}
        self.problems: dict[str, tuple[int, bytes]] = {}
        """Status and body of what is refused."""
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                path = self.path.split("?")[0]
                found = outer.answers.get(path)
                refused = outer.problems.get(path, (404, b"nothing here"))
                status, body = refused if found is None else (200, found)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def show(self, status: MeterStatus) -> None:
        self.answers["/v1/status"] = msgspec.json.encode(status)


@pytest.fixture
def fake_meter() -> Iterator[FakeMeter]:
    meter = FakeMeter()
    thread = threading.Thread(target=meter.server.serve_forever, args=(0.01,))
    thread.start()
    yield meter
    meter.server.shutdown()
    thread.join()
    meter.server.server_close()


@pytest.fixture
def status() -> MeterStatus:
    return STATUS


@pytest.fixture
def joulegate() -> Callable[..., Result]:
    """Run a command as a person would."""

    def run(*arguments: str, **environment: str) -> Result:
        return CliRunner(env={"COLUMNS": "100", **environment}).invoke(root, arguments)

    return run
