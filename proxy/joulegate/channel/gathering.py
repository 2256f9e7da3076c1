"""Requests that begin and end within a moment, told of in one event. Pure: the moments are the caller's.

Many requests are over sooner than a gate could have told of their beginning, and at thousands of them a
second each event costs both ends more than what it says is worth.
"""

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from joulegate.channel.frames import Whole
from joulegate.model import SpanClosed, SpanEvent, SpanFirstByte, SpanId, SpanOpened

GatheredEvent: TypeAlias = SpanEvent | Whole


class Begun(Struct, gc=False):
    """The beginning of a request, held back."""

    opened: SpanOpened
    first_byte: SpanFirstByte | None = None

    def events(self) -> list[GatheredEvent]:
        """Return what is held back as the events that it came as."""
        return [self.opened] if self.first_byte is None else [self.opened, self.first_byte]


class Gathering:
    """Holds beginnings back until they are two moments old or the request goes on."""

    def __init__(self) -> None:
        self._new: dict[SpanId, Begun] = {}
        self._old: dict[SpanId, Begun] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def take(self, event: SpanEvent) -> Sequence[GatheredEvent]:
        """Accept one event; return what is to be told now, in its order."""
        if isinstance(event, SpanOpened):
            self._new.setdefault(event.id, Begun(event))
            return ()
        begun = self._new.get(event.id) or self._old.get(event.id)
        if begun is None:
            return (event,)
        if isinstance(event, SpanFirstByte) and begun.first_byte is None:
            begun.first_byte = event
            return ()
        self._new.pop(event.id, None)
        self._old.pop(event.id, None)
        if isinstance(event, SpanClosed):
            return (_whole(begun, event),)
        return (*begun.events(), event)

    def moment(self) -> list[GatheredEvent]:
        """Let a moment pass; return what was held back for two of them."""
        ripe, self._old, self._new = self._old, self._new, {}
        return [event for begun in ripe.values() for event in begun.events()]

    def release(self) -> list[GatheredEvent]:
        """Return all that is held back."""
        return [*self.moment(), *self.moment()]


def _whole(begun: Begun, closed: SpanClosed) -> Whole:
    first = begun.first_byte
    return Whole(begun.opened, closed if first is None else replace(closed, first_byte=first.t))
