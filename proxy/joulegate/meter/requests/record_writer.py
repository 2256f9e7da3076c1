"""What the meter knows of requests that are not settled yet. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from joulegate.attribution.maths.shares import split
from joulegate.meter.requests.text import clean
from joulegate.model import (
    Asked,
    Component,
    DeviceId,
    Emissions,
    Outcome,
    Part,
    Phase,
    RequestRecord,
    Settled,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
    Stage,
)
from joulegate.units import Microjoules, Nanoseconds

Emit = Callable[[Settled, Nanoseconds], Emissions | None]
"""Gives the emissions of a figure whose request ended at a wall-clock time."""


class OpenRequest(Struct, gc=False):
    """One request on its way: events as they come, in any order; the first of a kind counts."""

    id: SpanId
    gate: str
    opened: SpanOpened | None = None
    first_byte: Nanoseconds | None = None
    closed: SpanClosed | None = None
    settled: Settled | None = None
    is_job: bool = False
    """Its server works on it after the answer: the end of its gate is not its own."""

    def take(self, event: SpanEvent) -> None:
        """Record an event."""
        match event:
            case SpanChunks():
                pass
            case SpanOpened():
                self.opened = self.opened or event
            case SpanClosed():
                self.closed = self.closed or event
                self.first_byte = self.first_byte or event.first_byte
            case SpanFirstByte():
                self.first_byte = self.first_byte or event.t
            case SpanJob():
                self.is_job = True
            case _:
                pass

    def settle(self, settled: Settled) -> None:
        """Record a figure; a final one stays."""
        if self.settled is None or not self.settled.final:
            self.settled = settled


class RecordWriter:
    """Turns a settled span into its record."""

    def __init__(
        self, components: Mapping[DeviceId, Component], models: Mapping[str, str | None], emit: Emit
    ) -> None:
        self._components = components
        self._models = models
        self._emit = emit

    def record(self, span: OpenRequest, offset: int) -> RequestRecord | None:
        """Return the record; ``None`` while something of it is missing.

        ``offset`` is wall clock minus monotonic clock, now.
        """
        opened, closed, settled = span.opened, span.closed, span.settled
        if opened is None or closed is None or settled is None:
            return None
        ended = max(closed.t, opened.t)
        return RequestRecord(
            id=span.id,
            upstream=opened.upstream,
            protocol=opened.protocol,
            task=opened.task,
            work=opened.work_in(closed.facts),
            model=self.model(opened, closed),
            outcome=closed.outcome,
            settled=settled,
            started=Nanoseconds(opened.t + offset),
            duration=Nanoseconds(ended - opened.t),
            components=self._by_component(settled),
            asked=_harmless(opened.asked),
            facts=closed.facts,
            emissions=self._emit(settled, Nanoseconds(ended + offset)),
            tenant=clean(opened.tenant),
            status=closed.status,
            client_request_id=clean(opened.client_request_id),
            first_byte=_time_to(opened, span.first_byte),
            overhead_request=closed.overhead_request,
            overhead_response=closed.overhead_response,
            job=closed.job,
            parts=_parts(closed.stages, settled.energy),
        )

    def model(self, opened: SpanOpened, closed: SpanClosed) -> str | None:
        """Return the model: as the server says, else as asked for, else as configured."""
        return clean(closed.model) or clean(opened.asked.model) or self._models.get(opened.upstream)

    def _by_component(self, settled: Settled) -> tuple[tuple[Component, Microjoules], ...]:
        if len(settled.by_device) == 1:
            (part,) = settled.by_device
            return ((self._components.get(part.device, Component.GPU), part.energy),)
        sums: dict[Component, Microjoules] = {}
        for part in settled.by_device:
            component = self._components.get(part.device, Component.GPU)
            sums[component] = Microjoules(sums.get(component, 0) + part.energy)
        return tuple(sums.items())


def orphaned(spans: Iterator[OpenRequest], gate: str, t: Nanoseconds) -> list[SpanClosed]:
    """Return the ends of all open requests of a gate that died; jobs go on at their server."""
    return [
        SpanClosed(id=span.id, t=max(t, span.opened.t), outcome=Outcome.ORPHANED, phase=Phase.RESPONSE)
        for span in spans
        if span.gate == gate and span.opened is not None and span.closed is None and not span.is_job
    ]


def _harmless(asked: Asked) -> Asked:
    model = clean(asked.model)
    return asked if model == asked.model else msgspec.structs.replace(asked, model=model)


def _time_to(opened: SpanOpened, t: Nanoseconds | None) -> Nanoseconds | None:
    return None if t is None else Nanoseconds(max(t - opened.t, 0))


def _parts(stages: Sequence[Stage], energy: Microjoules | None) -> tuple[Part, ...]:
    """Share a job's energy among its steps by their time, exactly; without an end to any it stays whole."""
    if not stages or energy is None or not any(stage.time for stage in stages):
        return ()
    shares = split(energy, [float(stage.time) for stage in stages]).tolist()
    return tuple(
        Part(stage.node, stage.time, Microjoules(share)) for stage, share in zip(stages, shares, strict=True)
    )
