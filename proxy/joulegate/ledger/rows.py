"""What the ledger keeps: pure structs, and how they add up."""

from collections.abc import Hashable, Iterable
from typing import TypeVar, cast

from msgspec import Struct

from joulegate.model import (
    Balance,
    BudgetCharge,
    Component,
    DeviceId,
    Outcome,
    RequestRecord,
    Share,
    Task,
    WindowBooks,
    WorkClass,
)
from joulegate.units import Microjoules, Nanoseconds

_Key = TypeVar("_Key", bound=Hashable)
_Amount = TypeVar("_Amount", bound=int)

UNFINISHED = ""
"""Upstream of the balance that holds energy of requests whose figures a crash took."""


class Entry(Struct, frozen=True, gc=False):
    """One final record with what it takes from the budgets."""

    record: RequestRecord
    charges: tuple[BudgetCharge, ...] = ()


class Reading(Struct, frozen=True):
    """Up to where the books of a device go: a meter that starts anew goes on from here."""

    device: DeviceId
    t: Nanoseconds
    """On the monotonic clock of this boot."""
    counter: Microjoules
    boot: str
    """Identity of the boot whose clock and counter these are."""


class BooksTotal(Struct, frozen=True):
    """The books of one device since the ledger began: ``counter = requests + idle + unattributed``."""

    device: DeviceId
    counter: Microjoules = Microjoules(0)
    requests: Microjoules = Microjoules(0)
    idle: Microjoules = Microjoules(0)
    unattributed: tuple[tuple[str, Microjoules], ...] = ()
    gap: Nanoseconds = Nanoseconds(0)
    resets: int = 0
    recorded: Microjoules = Microjoules(0)
    """The part of ``requests`` that stands in final records."""

    def plus(self, books: WindowBooks) -> "BooksTotal":
        """Give the books with one more window."""
        window = BooksTotal(
            device=books.device,
            counter=books.counter,
            requests=books.requests,
            idle=books.idle,
            unattributed=books.unattributed,
            gap=books.gap,
        )
        return self.merged(window)

    def merged(self, other: "BooksTotal") -> "BooksTotal":
        """Give the sum of both."""
        return BooksTotal(
            device=self.device,
            counter=Microjoules(self.counter + other.counter),
            requests=Microjoules(self.requests + other.requests),
            idle=Microjoules(self.idle + other.idle),
            unattributed=_sums(self.unattributed, other.unattributed),
            gap=Nanoseconds(self.gap + other.gap),
            resets=self.resets + other.resets,
            recorded=Microjoules(self.recorded + other.recorded),
        )

    def error(self) -> int:
        """Give what is missing from the books in microjoules: zero, always."""
        return self.counter - self.requests - self.idle - sum(energy for _, energy in self.unattributed)


class Batch(Struct, frozen=True):
    """What one settlement brings: it is written whole or not at all."""

    entries: tuple[Entry, ...] = ()
    books: tuple[WindowBooks, ...] = ()
    resets: tuple[tuple[DeviceId, int], ...] = ()
    """Restarts of counters since the last batch."""
    readings: tuple[Reading, ...] = ()


def key(balance: Balance) -> tuple[str, ...]:
    """Give the words under which a balance adds up; an absent word is empty."""
    return (
        balance.task.value,
        balance.work.value,
        balance.model or "",
        balance.upstream,
        balance.outcome.value,
        balance.tenant or "",
    )


def added(one: Balance, other: Balance) -> Balance:
    """Give the sum of two balances of the same words."""
    return Balance(
        task=one.task,
        work=one.work,
        model=one.model,
        upstream=one.upstream,
        outcome=one.outcome,
        tenant=one.tenant,
        requests=one.requests + other.requests,
        unmeasured=one.unmeasured + other.unmeasured,
        energy=tuple(
            (component, share, energy)
            for (component, share), energy in _sums(
                [((component, share), energy) for component, share, energy in one.energy],
                [((component, share), energy) for component, share, energy in other.energy],
            )
        ),
        wasted=Microjoules(one.wasted + other.wasted),
        emissions=_sums(one.emissions, other.emissions),
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        cached_prompt_tokens=one.cached_prompt_tokens + other.cached_prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        images=one.images + other.images,
        pixel_steps=one.pixel_steps + other.pixel_steps,
    )


def unfinished(component: Component, energy: Microjoules) -> Balance:
    """Give a balance of no request for energy that was booked to requests which were never recorded."""
    return Balance(
        task=Task.UNKNOWN,
        work=WorkClass.INFERENCE,
        model=None,
        upstream=UNFINISHED,
        outcome=Outcome.ORPHANED,
        tenant=None,
        requests=0,
        energy=((component, Share.UNSPLIT, energy),),
    )


def recorded(record: RequestRecord) -> list[BooksTotal]:
    """Give what a final record adds to the books of its devices."""
    return [BooksTotal(device=part.device, recorded=part.energy) for part in record.settled.by_device]


def _sums(
    one: Iterable[tuple[_Key, _Amount]], other: Iterable[tuple[_Key, _Amount]]
) -> tuple[tuple[_Key, _Amount], ...]:
    sums: dict[_Key, _Amount] = {}
    for name, amount in (*one, *other):
        sums[name] = cast(_Amount, sums[name] + amount) if name in sums else amount
    return tuple(sums.items())
