"""Sums since the ledger began."""

from typing import Any

from joulegate.ledger.rows import BooksTotal
from joulegate.meter.totals.totals import BOUND, DeviceTotals, Totals
from joulegate.model import Balance, Component, DeviceId, Outcome, Share, Task, WorkClass
from joulegate.units import Micrograms, Microjoules


def balance(
    model: str | None = "m", energy: int = 5, mass: int | None = None, work: WorkClass = WorkClass.INFERENCE
) -> Balance:
    return Balance(
        task=Task.CHAT,
        work=work,
        model=model,
        upstream="llm",
        outcome=Outcome.OK,
        tenant=None,
        requests=1,
        energy=((Component.GPU, Share.ACTIVE, Microjoules(energy)),),
        emissions=() if mass is None else (("location", Micrograms(mass)),),
    )


def test_rows_are_by_task_and_model_the_largest_first() -> None:
    """Emissions stay unknown until one is known; loading a model is no inference."""
    totals = Totals()
    for one in (
        balance("small", 1),
        balance("large", 5),
        balance("large", 6, 2),
        balance("x", 99, work=WorkClass.MODEL_LOAD),
    ):
        totals.add(one)
    assert [(row.model, row.requests, row.energy, row.emissions) for row in totals.rows()] == [
        ("large", 2, 11, 2),
        ("small", 1, 1, None),
    ]


def test_each_class_of_work_has_an_account() -> None:
    """A probe that makes a model work is counted, beside inference and not in it."""
    totals = Totals()
    for one in (
        balance("m", 1),
        balance("m", 7, work=WorkClass.PROBE),
        balance("m", 3, work=WorkClass.PROBE),
    ):
        totals.add(one)
    assert [(sum_.work, sum_.requests, sum_.energy) for sum_ in totals.works()] == [
        (WorkClass.INFERENCE, 1, 1),
        (WorkClass.PROBE, 2, 10),
    ]
    assert [row.energy for row in totals.rows()] == [1]


def test_models_carry_their_kind() -> None:
    """What a model was made for stands beside its sums."""
    totals = Totals({"m": "multi-purpose"}.get)
    for model in ("m", "n"):
        totals.add(balance(model))
    assert {row.model: row.model_kind for row in totals.rows()} == {"m": "multi-purpose", "n": None}


def test_a_flood_of_names_is_bounded_and_loses_no_energy() -> None:
    """Later names add up under one."""
    totals = Totals()
    for number in range(BOUND + 10):
        totals.add(balance(f"m{number}"))
    rows = totals.rows()
    assert len(rows) == BOUND + 1
    assert sum(row.energy for row in rows) == 5 * (BOUND + 10)
    assert rows[0].model == "other"


def test_books_go_on_from_what_the_ledger_kept(words: Any) -> None:
    """Windows and restarts of the counter are added to the device's own account."""
    accounts = DeviceTotals([BooksTotal(device=words.gpu, counter=Microjoules(10), idle=Microjoules(10))])
    accounts.add(words.window(1, 2))
    accounts.reset(words.gpu, 2)
    books = accounts.of(words.gpu)
    assert (books.counter, books.requests, books.idle, books.resets, books.error()) == (20, 7, 13, 2, 0)
    assert accounts.of(DeviceId("other")).counter == 0
    assert accounts.all() == (books,)
