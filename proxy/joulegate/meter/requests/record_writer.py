"""Turns a settled request into its record. Pure."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from joulegate.attribution.maths.shares import split
from joulegate.meter.requests.open_requests import OpenRequest
from joulegate.meter.requests.text import clean
from joulegate.model import (
    Asked,
    Component,
    DeviceId,
    Emissions,
    Part,
    RequestRecord,
    Settled,
    SpanClosed,
    SpanOpened,
    Stage,
)
from joulegate.units import Microjoules, Nanoseconds

Emit = Callable[[Settled, Nanoseconds], Emissions | None]
"""Gives the emissions of a figure whose request ended at a wall-clock time."""


class RecordWriter:
    """Knows what a record holds beside what gates and attribution say: models, components, emissions."""

    def __init__(
        self, components: Mapping[DeviceId, Component], models: Mapping[str, str | None], emit: Emit
    ) -> None:
        self._components = components
        self._models = models
        self._emit = emit

    def record(self, request: OpenRequest, offset: int) -> RequestRecord | None:
        """Return the record; ``None`` while something of it is missing.

        ``offset`` is wall clock minus monotonic clock, now.
        """
        opened, closed, settled = request.opened, request.closed, request.settled
        if opened is None or closed is None or settled is None:
            return None
        ended = max(closed.t, opened.t)
        return RequestRecord(
            id=request.id,
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
            first_byte=_time_to(opened, request.first_byte),
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
