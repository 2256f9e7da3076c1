"""Limits of energy or emissions over calendar periods. Pure: time is an argument.

A request is charged whole to the period in which it ended, by the clock of the budget's own timezone; a
request that ends a second after midnight is the new day's, however long it ran before.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from joulegate.config import BudgetConfig, MatchConfig
from joulegate.model import BudgetCharge, BudgetStatus, RequestRecord
from joulegate.units import NANO, Nanoseconds

_HOUR = 3_600 * NANO


class Budget:
    """One limit, and what was charged against it."""

    def __init__(self, config: BudgetConfig) -> None:
        self.name = config.name
        self.unit, self.limit = config.limit.unit, config.limit.amount
        self._period = config.period
        self._zone = ZoneInfo(config.timezone)
        self._match = config.match
        self._used: dict[Nanoseconds, int] = {}
        self._total = 0

    def charge(self, record: RequestRecord) -> BudgetCharge | None:
        """Return what a final record takes; ``None`` if it is not of this budget or its figure is unknown."""
        amount = self._amount(record)
        if amount is None or not matches(self._match, record):
            return None
        start, _ = self.period(Nanoseconds(record.started + record.duration))
        return BudgetCharge(self.name, start, amount)

    def take(self, charge: BudgetCharge) -> None:
        """Add what a record takes."""
        self._used[charge.period] = self._used.get(charge.period, 0) + charge.amount
        self._total += charge.amount
        self._forget()

    def status(self, wall: Nanoseconds) -> BudgetStatus:
        """Return limit and use in the period of a wall-clock time."""
        start, end = self.period(wall)
        return BudgetStatus(
            name=self.name,
            unit=self.unit,
            limit=self.limit,
            used=self._used.get(start, 0),
            total=self._total,
            period=Nanoseconds(end - start),
            period_end=end,
        )

    def period(self, wall: Nanoseconds) -> tuple[Nanoseconds, Nanoseconds]:
        """Return begin and end of the calendar period around a wall-clock time."""
        if self._period == "hour":
            # Hours are those of UTC: there none is missing, none comes twice and none has 30 minutes.
            start = wall // _HOUR * _HOUR
            return Nanoseconds(start), Nanoseconds(start + _HOUR)
        local = datetime.fromtimestamp(wall // NANO, UTC).astimezone(self._zone)
        first = _first_day(self._period, local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0))
        return _stamp(first), _stamp(_next_period(self._period, first))

    def _amount(self, record: RequestRecord) -> int | None:
        if self.unit == "joules":
            return record.settled.energy
        return record.emissions.mass if record.emissions else None

    def _forget(self) -> None:
        while len(self._used) > _KEPT_PERIODS:
            del self._used[min(self._used)]


_KEPT_PERIODS = 3
"""The present period and those in which late settlements may still land."""


class Budgets:
    """All budgets of the configuration."""

    def __init__(self, configs: Iterable[BudgetConfig]) -> None:
        self._budgets = {config.name: Budget(config) for config in configs}

    def charges(self, record: RequestRecord) -> tuple[BudgetCharge, ...]:
        """Return what a final record takes from each budget that it falls under."""
        found = (budget.charge(record) for budget in self._budgets.values())
        return tuple(charge for charge in found if charge is not None)

    def take(self, charges: Iterable[BudgetCharge]) -> None:
        """Add charges, new ones or at start those that the ledger kept."""
        for charge in charges:
            if budget := self._budgets.get(charge.budget):
                budget.take(charge)

    def status(self, wall: Nanoseconds) -> tuple[BudgetStatus, ...]:
        """Return the status of all."""
        return tuple(budget.status(wall) for budget in self._budgets.values())


def matches(match: MatchConfig, record: RequestRecord) -> bool:
    """Whether all given fields agree; ``*`` in a model stands for any characters."""
    exact = (
        (match.task, record.task.value),
        (match.upstream, record.upstream),
        (match.tenant, record.tenant),
    )
    if any(wanted not in (None, found) for wanted, found in exact):
        return False
    return match.model is None or fnmatchcase(record.model or "", match.model)


def _first_day(period: str, day: datetime) -> datetime:
    if period == "week":
        return day - timedelta(days=day.weekday())
    if period == "month":
        return day.replace(day=1)
    if period == "year":
        return day.replace(month=1, day=1)
    return day


def _next_period(period: str, first: datetime) -> datetime:
    if period == "week":
        return first + timedelta(days=7)
    if period == "month":
        return (first + timedelta(days=31)).replace(day=1)
    if period == "year":
        return first.replace(year=first.year + 1)
    return first + timedelta(days=1)


def _stamp(day: datetime) -> Nanoseconds:
    # Arithmetic above is on the wall of the zone; its offset is looked up here, so a day may have 23 hours.
    return Nanoseconds(int(day.timestamp()) * NANO)
