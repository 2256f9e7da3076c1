"""Budgets, sums, exporters and ledger hear the same, once."""

from pathlib import Path
from typing import Any

from joulegate.budgets.windows import Budgets
from joulegate.config import BudgetConfig
from joulegate.config.quantities import limit
from joulegate.ledger.sqlite import Ledger
from joulegate.meter.requests.settlement import Settlement, Settlements
from joulegate.meter.totals.results import Results
from joulegate.model import (
    Alike,
    Balance,
    Device,
    MeterStatus,
    RequestRecord,
    TaskFacts,
    WindowBooks,
    WorkClass,
)
from joulegate.ports import DeviceHealth
from joulegate.testing.records import record
from joulegate.units import Microwatts, Nanoseconds


class Heard:
    """An exporter that keeps what it is told."""

    content_types = ("text/plain",)

    def __init__(self) -> None:
        self.records: list[RequestRecord] = []
        self.books: list[WindowBooks] = []
        self.balances: list[Balance] = []

    def settled(self, record: RequestRecord) -> None:
        self.records.append(record)

    def booked(self, books: WindowBooks) -> None:
        self.books.append(books)

    def restore(self, balances: list[Balance]) -> None:
        self.balances += balances

    def freeze(self, status: MeterStatus) -> object:
        return status

    def render(self, frozen: object, accept: str) -> tuple[bytes, str]:
        return b"", "text/plain"


class Sums(Heard):
    """An exporter that takes records together."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[Alike] = []

    def settled_together(self, groups: list[Alike]) -> None:
        self.groups += groups


def test_an_exporter_of_sums_gets_records_by_their_words() -> None:
    """All of one settlement at once, and none of them a second time."""
    heard, plain = Sums(), Heard()
    ledger = Ledger.open(":memory:")
    found = Results(ledger, Budgets([]), [heard, plain])
    records = tuple(record(model=model) for model in "aba")
    found.take(Settlements(records=records), {})
    ledger.close()

    assert [(group.sums.model, len(group.records)) for group in heard.groups] == [("a", 2), ("b", 1)]
    assert heard.records == []
    assert plain.records == list(records)


def health(resets: int, idle_power: int | None) -> DeviceHealth:
    return DeviceHealth(
        None if idle_power is None else Microwatts(idle_power), resets, gap=Nanoseconds(0), rejected=()
    )


def results(path: Path, devices: list[Device]) -> tuple[Results, Heard, Ledger]:
    ledger, heard = Ledger.open(path), Heard()
    found = Results(ledger, Budgets([BudgetConfig("all", limit("1 kWh"), "year")]), [heard])
    found.restore(devices)
    ledger.start(lambda ids: None)
    return found, heard, ledger


def test_a_restart_goes_on_with_all_sums(
    tmp_path: Path, settlement: Settlement, attributor: Any, words: Any
) -> None:
    """What the ledger kept opens totals, books, budgets and the exporters' counters."""
    first, heard, ledger = results(tmp_path / "l.db", [words.device])
    settlement.sample(words.sample(0.5, 100))
    for event in (words.opened("a"), words.closed("a")):
        settlement.event("gate", event)
    attributor.give([words.settled("a")], [words.window(0.5, 3)])
    first.take(settlement.advance(words.at(4), words.at(4)), {words.gpu: health(2, 80_000_000)})
    first.take(settlement.advance(words.at(5), words.at(5)), {words.gpu: health(3, 81_000_000)})
    assert ([record.id for record in heard.records], len(heard.books), heard.balances) == (["a"], 1, [])
    ledger.close()

    second, heard, ledger = results(tmp_path / "l.db", [words.device])
    assert second.totals.rows() == first.totals.rows()
    assert second.budgets.status(words.at(4)) == first.budgets.status(words.at(4))
    assert second.budgets.status(words.at(4))[0].used == 7
    (books,) = second.accounts.all()
    assert (books.counter, books.recorded, books.resets, books.error()) == (10, 7, 2, 0)
    assert ledger.reader.idle_power() == {words.gpu: 80_000_000}
    assert [balance.requests for balance in heard.balances] == [1]
    assert ledger.reader.readings()[0].counter == 100
    ledger.close()


def test_labels_begin_with_the_class_that_the_answer_showed(tmp_path: Path, words: Any) -> None:
    """What a machine elsewhere answered begins no series of a task."""
    found, heard, ledger = results(tmp_path / "l.db", [])
    facts = TaskFacts(work=WorkClass.REMOTE)
    found.begin_series(words.opened("a"), words.closed("a", facts=facts), "gpt-oss:120b-cloud")
    assert [one.work for one in heard.balances] == [WorkClass.REMOTE]
    ledger.close()


def test_new_labels_begin_at_zero_once(tmp_path: Path, words: Any) -> None:
    """The first energy of a model is a rise from zero, not a series that appears."""
    found, heard, ledger = results(tmp_path / "l.db", [])
    for _ in range(2):
        found.begin_series(words.opened("a"), words.closed("a"), "gemma")
    ((model, requests, energy),) = [(one.model, one.requests, one.energy) for one in heard.balances]
    assert (model, requests, energy) == ("gemma", 0, ())
    ledger.close()
