"""``report`` from a running meter and from a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from click.testing import Result

from joulegate import clock
from joulegate.ledger.rows import Batch, LedgerEntry
from joulegate.ledger.sqlite import Ledger
from joulegate.model import (
    Component,
    DeviceEnergy,
    DeviceId,
    Method,
    Outcome,
    RequestRecord,
    Settled,
    SpanId,
    Task,
    WindowBooks,
    WorkClass,
)
from joulegate.report.study import StudyReport, StudyRow
from joulegate.units import MICRO, NANO, Microjoules, Nanoseconds

Run = Callable[..., Result]
GPU = DeviceId("GPU-0")
BOOKS = WindowBooks(
    GPU,
    Nanoseconds(0),
    Nanoseconds(NANO),
    counter=Microjoules(10_805 * MICRO),
    requests=Microjoules(10_800 * MICRO),
    idle=Microjoules(5 * MICRO),
)


def record(id_: str, joules: int) -> RequestRecord:
    energy = Microjoules(joules * MICRO)
    settled = Settled(
        SpanId(id_), energy, None, Method.TOKENS, final=True, by_device=(DeviceEnergy(GPU, energy),)
    )
    return RequestRecord(
        id=SpanId(id_),
        upstream="text",
        protocol="openai",
        task=Task.CHAT,
        work=WorkClass.INFERENCE,
        model="gemma",
        outcome=Outcome.OK,
        settled=settled,
        started=Nanoseconds(clock.wall() - NANO),
        duration=Nanoseconds(1_000),
        components=((Component.GPU, energy),),
    )


REPORT = StudyReport(
    0.0, 1.0, "gpu", "tokens", "", True, 0, (), None,
    (StudyRow({"task": "chat"}, 2, 0, 1.0, 0.5, 0.1, None, 41.7, None, ("tokens",)),),
)  # fmt: skip


def test_from_a_running_meter(joulegate: Run, fake_meter: Any) -> None:
    """The words of the command line are handed on, and the answer becomes the table."""
    fake_meter.answers["/v1/report"] = msgspec.json.encode(REPORT)
    result = joulegate("report", "--admin", fake_meter.address, "--since", "2 h", "--by", "task")
    assert result.exit_code == 0
    assert "0.500" in result.output
    assert "boundary gpu" in result.output
    assert fake_meter.asked == ["/v1/report?since=2+h&by=task"]


def test_json(joulegate: Run, fake_meter: Any) -> None:
    """A program gets the rows."""
    fake_meter.answers["/v1/report"] = msgspec.json.encode(REPORT)
    answer = json.loads(joulegate("report", "--admin", fake_meter.address, "--until", "1", "--json").output)
    assert answer["rows"][0]["kwh_per_1000"] == 0.5
    assert fake_meter.asked[0].endswith("&until=1")


def test_no_meter(joulegate: Run) -> None:
    """Without a meter the remedy is named."""
    result = joulegate("report", "--admin", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "--admin" in result.stderr


def test_from_a_file(joulegate: Run, tmp_path: Path) -> None:
    """A ledger is read with no meter running; its books are shown, and what it does not keep is said."""
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    ledger.start(lambda _: None)
    ledger.append(Batch((LedgerEntry(record("a", 3_600)), LedgerEntry(record("b", 7_200))), (BOOKS,)))
    assert ledger.flush(10)
    ledger.close()
    result = joulegate("report", "--ledger", str(path), "--since", "1 d")
    assert result.exit_code == 0
    row = next(line for line in result.output.splitlines() if line.startswith("chat"))
    assert row.split() == ["chat", "gemma", "2", "1.50", "0.707", "-", "125", "-"]
    assert "boundary not kept in the ledger" in result.output
    assert "the books balance to the microjoule: 10800.000 J requests" in result.output


def test_no_such_ledger(joulegate: Run, tmp_path: Path) -> None:
    """A file that is not there, or a time that is none, is a usage error."""
    assert joulegate("report", "--ledger", str(tmp_path / "none.db")).exit_code == 2
    assert joulegate("report", "--ledger", str(tmp_path / "none.db"), "--since", "yesterday").exit_code == 2
