"""Sums since the ledger began: by task and model, and by device. Pure."""

from collections.abc import Callable, Iterable

from joulegate.ledger.rows import BooksTotal
from joulegate.model import Balance, DeviceId, Task, TaskTotals, WindowBooks, WorkClass, WorkTotals
from joulegate.units import Micrograms, Microjoules, Microwatts

BOUND = 1_000
"""Pairs of task and model that are told apart; later ones add up under the model ``other``."""
OTHER = "other"
UNKNOWN = "unknown"


class Totals:
    """Settled inference by task and model, and all work by its class."""

    def __init__(self, kinds: Callable[[str], str | None] = lambda _: None) -> None:
        self._rows: dict[tuple[Task, str], TaskTotals] = {}
        self._works: dict[WorkClass, WorkTotals] = {}
        self._kind = kinds

    def add(self, balance: Balance) -> None:
        """Add sums: those of one record, or at start those that the ledger kept."""
        energy = sum(part for _, _, part in balance.energy)
        self._add_work(balance, energy)
        if balance.work is not WorkClass.INFERENCE:
            return
        key = self._key(balance.task, balance.model or UNKNOWN)
        known = self._rows.get(key)
        mass = sum(part for _, part in balance.emissions) if balance.emissions else None
        self._rows[key] = TaskTotals(
            task=key[0],
            model=key[1],
            requests=balance.requests + (known.requests if known else 0),
            energy=Microjoules(energy + (known.energy if known else 0)),
            emissions=_sum(mass, known.emissions if known else None),
            model_kind=self._kind(key[1]),
        )

    def works(self) -> tuple[WorkTotals, ...]:
        """Return the sums of each class of work that there was."""
        return tuple(self._works[work] for work in WorkClass if work in self._works)

    def _add_work(self, balance: Balance, energy: int) -> None:
        known = self._works.get(balance.work)
        self._works[balance.work] = WorkTotals(
            work=balance.work,
            requests=balance.requests + (known.requests if known else 0),
            energy=Microjoules(energy + (known.energy if known else 0)),
        )

    def rows(self) -> tuple[TaskTotals, ...]:
        """Return all sums, the largest energy first."""
        return tuple(sorted(self._rows.values(), key=lambda row: (-row.energy, row.task, row.model)))

    def _key(self, task: Task, model: str) -> tuple[Task, str]:
        key = (task, model)
        return key if key in self._rows or len(self._rows) < BOUND else (task, OTHER)


class DeviceTotals:
    """The books of every device."""

    def __init__(self, kept: Iterable[BooksTotal] = ()) -> None:
        self._books = {books.device: books for books in kept}

    def add(self, window: WindowBooks) -> None:
        """Add one window."""
        self._books[window.device] = self.of(window.device).plus(window)

    def reset(self, device: DeviceId, times: int) -> None:
        """Add restarts of a device's counter."""
        self._books[device] = self.of(device).merged(BooksTotal(device=device, resets=times))

    def idles(self, device: DeviceId, power: Microwatts) -> None:
        """Record a device's idle power."""
        self._books[device] = self.of(device).merged(BooksTotal(device=device, idle_power=power))

    def of(self, device: DeviceId) -> BooksTotal:
        """Return the books of a device."""
        return self._books.get(device) or BooksTotal(device=device)

    def all(self) -> tuple[BooksTotal, ...]:
        """Return the books of every device that ever had any."""
        return tuple(self._books.values())


def _sum(one: int | None, other: int | None) -> Micrograms | None:
    known = [mass for mass in (one, other) if mass is not None]
    return Micrograms(sum(known)) if known else None
