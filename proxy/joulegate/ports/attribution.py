"""What a rule of attribution offers to the meter."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from joulegate.model import (
    DeviceId,
    DeviceLoad,
    EnergySample,
    Settled,
    SourceFailure,
    SpanEvent,
    UpstreamSetup,
    WindowBooks,
)
from joulegate.units import Microwatts, Nanoseconds


class DeviceHealth(Struct, frozen=True):
    """What settlement found out about the readings of one device."""

    idle_power: Microwatts | None
    """Power with no request present, learned when quiet; ``None`` until known."""
    resets: int
    gap: Nanoseconds
    rejected: tuple[tuple[str, int], ...]
    """Dropped readings by reason."""


class Attributor(Protocol):
    """Settles requests: events and samples in, figures and books out. Pure: time is an argument.

    Inputs may arrive late and slightly out of order; each is used only from the moment it is given. The
    books of every window that comes out balance exactly.
    """

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Accept one reading, good or failed."""
        ...

    def load(self, load: DeviceLoad) -> None:
        """Accept a report on the processes that use a device."""
        ...

    def event(self, event: SpanEvent) -> None:
        """Accept one span event.

        Of each request the first is its beginning; beginning, first byte and end come once, and nothing
        comes after its final figure.
        """
        ...

    def advance(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        """Settle what is due at ``now``: provisional and final figures, and the windows that closed."""
        ...

    def drain(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        """Settle everything up to the last reading, because no more will come."""
        ...

    def assign(self, upstream: str, setup: UpstreamSetup) -> None:
        """Learn or change what is known of an upstream; windows that are closed stay as they are."""
        ...

    def health(self, device: DeviceId) -> DeviceHealth:
        """Return what was found out about a device's readings."""
        ...
