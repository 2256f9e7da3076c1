"""What an exporter offers."""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from joulegate.model import Alike, Balance, MeterStatus, RequestRecord, WindowBooks


@runtime_checkable
class Exporter(Protocol):
    """Publishes settled figures. ``joulegate_exporters.<name>.Plugin``.

    ``settled`` and ``booked`` are called on the meter's loop and only add integers. ``render`` may be
    called in another thread with what ``freeze`` gave.
    """

    content_types: Sequence[str]

    def settled(self, record: RequestRecord) -> None:
        """Accept one final record."""
        ...

    def booked(self, books: WindowBooks) -> None:
        """Accept the books of one closed window."""
        ...

    def freeze(self, status: MeterStatus) -> object:
        """Return an immutable copy of all that ``render`` needs; fast, on the loop."""
        ...

    def render(self, frozen: object, accept: str) -> tuple[bytes, str]:
        """Return the document and its content type; slow, off the loop."""
        ...


@runtime_checkable
class Summing(Protocol):
    """Optional ability of an exporter of sums: it takes many records at once in place of one by one."""

    def settled_together(self, groups: Sequence[Alike]) -> None:
        """Accept final records by their words, with their sums."""
        ...


@runtime_checkable
class Continuous(Protocol):
    """Optional ability of an exporter with counters."""

    def restore(self, balances: Iterable[Balance]) -> None:
        """Add sums to the counters: at start those that the ledger kept, from before the restart.

        A balance of zeros begins the series of a coming record, so that a rate sees its first energy.
        Called on the meter's loop.
        """
        ...
