"""What gates and the meter tell one another."""

from typing import Protocol

from joulegate.model import Figures, GateReport, Limits, SpanEvent, SpanId
from joulegate.units import Nanoseconds


class EventSink(Protocol):
    """Where a gate's events go."""

    def emit(self, event: SpanEvent) -> None:
        """Accept one event. Never blocks and never raises; what overflows its bound is counted."""
        ...


class GateControl(Protocol):
    """Who listens to the meter: the gate. Both are called on its loop and must be quick."""

    def figures(self, figures: Figures) -> None:
        """Accept price lists and figures of requests that are new or have changed."""
        ...

    def limits(self, limits: Limits) -> None:
        """Accept leases of budgets that are new or have changed."""
        ...


class EventHandler(Protocol):
    """Who listens to the gates: the meter."""

    def gate_connected(self, report: GateReport) -> None:
        """Notify that a gate came, or came back."""
        ...

    def gate_reported(self, report: GateReport) -> None:
        """Accept the gate's own figures, about once a second."""
        ...

    def gate_lost(self, gate: str) -> None:
        """Notify that a gate died: its open spans will not be closed by anyone else."""
        ...

    def event(self, gate: str, event: SpanEvent, earliest: Nanoseconds | None = None) -> bool:
        """Accept one event; return whether the gate may forget its span: its record is on disk already.

        A gate tells a meter that is new to it of spans that an earlier one has settled. ``earliest`` is when
        the span may have begun at the earliest, where the event's own time is not exact.
        """
        ...

    def is_settled(self, id_: SpanId) -> bool:
        """Whether the record of a span is on disk; asked for events that come again over a new connection."""
        ...
