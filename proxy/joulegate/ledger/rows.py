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
from joulegate.units import Microjoules, Microwatts, Nanoseconds

_Key = TypeVar("_Key", bound=Hashable)
_Amount = TypeVar("_Amount", bound=int)

UNFINISHED = ""
"""Upstream of the balance that holds energy of requests whose figures a crash took."""


class LedgerEntry(Struct, frozen=True, gc=False):
    """One final record with what it takes from the budgets."""

    record: RequestRecord
    charges: tuple[BudgetCharge, ...] = ()


class StoredReading(Struct, frozen=True):
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
    idle_power: Microwatts | None = None
    """Power with no request present, as last learned; ``None`` until known."""

    def plus(self, books: WindowBooks) -> "BooksTotal":
        """Return the books with one more window."""
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
        """Return the sum of both."""
        return BooksTotal(
            device=self.device,
            counter=Microjoules(self.counter + other.counter),
            requests=Microjoules(self.requests + other.requests),
            idle=Microjoules(self.idle + other.idle),
            unattributed=_sums(self.unattributed, other.unattributed),
            gap=Nanoseconds(self.gap + other.gap),
            resets=self.resets + other.resets,
            recorded=Microjoules(self.recorded + other.recorded),
            idle_power=self.idle_power if other.idle_power is None else other.idle_power,
        )

    def error(self) -> int:
        """Return what is missing from the books in microjoules: zero, always."""
        return self.counter - self.requests - self.idle - sum(energy for _, energy in self.unattributed)


class Batch(Struct, frozen=True):
    """What one settlement brings: it is written whole or not at all."""

    entries: tuple[LedgerEntry, ...] = ()
    books: tuple[WindowBooks, ...] = ()
    resets: tuple[tuple[DeviceId, int], ...] = ()
    """Restarts of counters since the last batch."""
    idle_power: tuple[tuple[DeviceId, Microwatts], ...] = ()
    """What was learned since the last batch."""
    readings: tuple[StoredReading, ...] = ()


def unfinished(component: Component, energy: Microjoules) -> Balance:
    """Return a balance of no request for energy that was booked to requests which were never recorded."""
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


def recorded(*records: RequestRecord) -> list[BooksTotal]:
    """Return what final records add to the books of their devices."""
    sums: dict[DeviceId, int] = {}
    for record in records:
        for part in record.settled.by_device:
            sums[part.device] = sums.get(part.device, 0) + part.energy
    return [BooksTotal(device=device, recorded=Microjoules(energy)) for device, energy in sums.items()]


def _sums(
    one: Iterable[tuple[_Key, _Amount]], other: Iterable[tuple[_Key, _Amount]]
) -> tuple[tuple[_Key, _Amount], ...]:
    sums: dict[_Key, _Amount] = {}
    for name, amount in (*one, *other):
        sums[name] = cast(_Amount, sums[name] + amount) if name in sums else amount
    return tuple(sums.items())
