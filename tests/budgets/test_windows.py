"""Budgets follow the calendar of their own timezone and count each request once."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.budgets.windows import Budget, Budgets, matches
from joulegate.config import BudgetConfig, MatchConfig
from joulegate.config.quantities import limit
from joulegate.model import (
    BudgetCharge,
    Emissions,
    Method,
    Outcome,
    RequestRecord,
    Settled,
    SpanId,
    Task,
    WorkClass,
)
from joulegate.units import Micrograms, Microjoules, Nanoseconds

PERIODS = ("hour", "day", "week", "month", "year")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")


def wall(*when: int, zone: str = "UTC") -> Nanoseconds:
    return Nanoseconds(int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()) * 10**9)  # type: ignore[misc, arg-type]


def record(end: Nanoseconds, energy: int | None = 5, mass: int | None = None, **words: Any) -> RequestRecord:
    known = None if energy is None else Microjoules(energy)
    return RequestRecord(
        **{
            "id": SpanId("r"),
            "upstream": "llm",
            "protocol": "openai",
            "task": Task.CHAT,
            "work": WorkClass.INFERENCE,
            "model": "gemma",
            "outcome": Outcome.OK,
            "settled": Settled(SpanId("r"), known, None, Method.TOKENS, final=True),
            "started": Nanoseconds(end - 1_000),
            "duration": Nanoseconds(1_000),
            "emissions": None if mass is None else Emissions(Micrograms(mass), "FRA", Micrograms(1)),
            **words,
        }
    )


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("hour", (2026, 3, 18, 14), (2026, 3, 18, 15)),
        ("day", (2026, 3, 18), (2026, 3, 19)),
        ("week", (2026, 3, 16), (2026, 3, 23)),
        ("month", (2026, 3, 1), (2026, 4, 1)),
        ("year", (2026, 1, 1), (2027, 1, 1)),
    ],
)
def test_periods_are_those_of_the_calendar(period: Any, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    """A month begins on its first day at midnight of the budget's timezone, a week on Monday."""
    budget = Budget(BudgetConfig("b", limit("1 kWh"), period, "Europe/Berlin"))
    found = budget.period(wall(2026, 3, 18, 14, 30, zone="Europe/Berlin"))
    assert found == tuple(wall(*(*t, 0)[:5], zone="Europe/Berlin") for t in (start, end))


def test_the_day_on_which_clocks_change_has_23_hours() -> None:
    """Summer time shortens the day, and its budget's period with it."""
    budget = Budget(BudgetConfig("b", limit("1 kWh"), "day", "Europe/Berlin"))
    start, end = budget.period(wall(2026, 3, 29, 12, zone="Europe/Berlin"))
    assert end - start == 23 * 3600 * 10**9


@given(
    st.sampled_from(PERIODS),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),  # noqa: DTZ001
)
def test_periods_follow_one_another_without_gap_or_overlap(period: Any, zone: str, when: datetime) -> None:
    """Every instant lies in exactly one period, also when clocks change or a zone skips a day."""
    budget = Budget(BudgetConfig("b", limit("1 kWh"), period, zone))
    now = Nanoseconds(int(when.timestamp()) * 10**9)
    start, end = budget.period(now)
    assert start <= now < end
    assert budget.period(end)[0] == end
    assert budget.period(Nanoseconds(end - 1)) == (start, end)


def test_use_is_that_of_the_present_period_and_the_total_never_falls() -> None:
    """At the turn of the day the use begins anew; the counter of all charges goes on."""
    budgets = Budgets([BudgetConfig("day", limit("1 kWh"), "day")])
    for end in (wall(2026, 3, 18, 23), wall(2026, 3, 19, 1), wall(2026, 3, 19, 2)):
        budgets.take(budgets.charges(record(end)))
    (before,), (after,) = budgets.status(wall(2026, 3, 18, 23)), budgets.status(wall(2026, 3, 19, 23))
    assert (before.used, after.used, after.total) == (5, 10, 15)
    assert after.limit == 3_600_000 * 10**6
    assert after.period_end == wall(2026, 3, 20)


def test_a_request_is_charged_to_the_period_of_its_end() -> None:
    """A request over midnight is the new day's."""
    budget = Budget(BudgetConfig("day", limit("1 kWh"), "day"))
    (charge,) = [
        budget.charge(record(wall(2026, 3, 19), started=wall(2026, 3, 18), duration=wall(1970, 1, 2)))
    ]
    assert charge == BudgetCharge("day", wall(2026, 3, 19), 5)


def test_a_budget_of_mass_counts_micrograms_and_an_unknown_is_not_charged() -> None:
    """Grams are charged where emissions are known; nothing is charged as zero."""
    budgets = Budgets([BudgetConfig("co2", limit("8 kg"))])
    assert [charge.amount for charge in budgets.charges(record(wall(2026, 3, 1), mass=7))] == [7]
    assert budgets.charges(record(wall(2026, 3, 1), mass=None)) == ()
    assert Budgets([BudgetConfig("e", limit("8 kWh"))]).charges(record(wall(2026, 3, 1), energy=None)) == ()
    assert budgets.status(wall(2026, 3, 1))[0].unit == "grams"


@pytest.mark.parametrize(
    ("match", "agrees"),
    [
        (MatchConfig(), True),
        (MatchConfig(task="chat", model="gemma", upstream="llm"), True),
        (MatchConfig(model="gem*"), True),
        (MatchConfig(model="GEMMA"), False),
        (MatchConfig(task="embeddings"), False),
        (MatchConfig(task="chat", upstream="image"), False),
        (MatchConfig(tenant="search"), False),
    ],
)
def test_all_given_fields_must_agree(match: MatchConfig, agrees: bool) -> None:
    """A budget of one task and one upstream charges neither the task elsewhere nor the rest."""
    assert matches(match, record(wall(2026, 3, 1))) is agrees


def test_charges_of_the_ledger_open_the_budgets() -> None:
    """After a restart the use goes on where it was; a budget that is gone is left alone."""
    budgets = Budgets([BudgetConfig("day", limit("1 kWh"), "day")])
    budgets.take(
        [
            BudgetCharge("day", wall(2026, 3, 18), 40),
            BudgetCharge("day", wall(2026, 3, 17), 2),
            BudgetCharge("old", wall(2026, 1, 1), 9),
        ]
    )
    (status,) = budgets.status(wall(2026, 3, 18, 5))
    assert (status.used, status.total) == (40, 42)
