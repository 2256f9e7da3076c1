"""A record says of a request what was asked, what was answered and what it cost."""

from typing import Any

import pytest

from joulegate.meter.requests.open_requests import OpenRequest
from joulegate.meter.requests.record_writer import RecordWriter
from joulegate.model import (
    Component,
    DeviceEnergy,
    DeviceId,
    Emissions,
    Outcome,
    Settled,
    SpanId,
    TaskFacts,
    WorkClass,
)
from joulegate.units import Micrograms, Microjoules

OFFSET = 1_000 * 10**9


def writer() -> RecordWriter:
    return RecordWriter(
        {DeviceId("GPU-0"): Component.GPU, DeviceId("cpu"): Component.CPU},
        {"llm": "configured"},
        lambda settled, wall: Emissions(Micrograms(wall // 10**9), "FRA", Micrograms(1)),
    )


def span(words: Any, settled: Settled | None = None, **closed: object) -> OpenRequest:
    found = OpenRequest(SpanId("a"), "gate")
    for event in (
        words.closed("a", 5, **closed),
        words.first_byte("a", 3),
        words.opened("a", 2, client_request_id="x\ny"),
    ):
        found.add(event)
    found.settle(settled or words.settled("a"))
    return found


def test_events_in_any_order_make_the_record(words: Any) -> None:
    """Times are durations and one wall-clock stamp; emissions are those in force at the end."""
    record = writer().record(span(words), OFFSET)
    assert record is not None
    assert (record.started, record.duration, record.first_byte) == (1_002 * 10**9, 3 * 10**9, 10**9)
    assert (record.outcome, record.status, record.client_request_id) == (
        Outcome.OK,
        200,
        "x\N{REPLACEMENT CHARACTER}y",
    )
    assert record.emissions is not None
    assert record.emissions.mass == 1_005


@pytest.mark.parametrize(
    ("answered", "asked", "model"),
    [
        ("served", "asked", "served"),
        (None, "asked", "asked"),
        (None, None, "configured"),
        ("\ud800", None, "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_model_is_the_servers_word_first(words: Any, answered: Any, asked: Any, model: str) -> None:
    """The server knows best, then the client, then the configuration."""
    opened = words.opened("a", asked=words.opened("a").asked.__class__(model=asked))
    assert writer().model(opened, words.closed("a", model=answered)) == model


def test_the_answer_tells_the_class_of_work_last(words: Any) -> None:
    """The server knows best whether it worked itself."""
    for facts, work in ((TaskFacts(), "inference"), (TaskFacts(work=WorkClass.REMOTE), "remote")):
        record = writer().record(span(words, facts=facts), OFFSET)
        assert record is not None
        assert record.work == work


def test_energy_adds_up_by_component(words: Any) -> None:
    """Two GPUs are one component; a device that is not known counts as a GPU."""
    parts = {"GPU-0": 3, "GPU-new": 4, "cpu": 5}
    settled = words.settled("a", 12)
    devices = tuple(DeviceEnergy(DeviceId(name), Microjoules(energy)) for name, energy in parts.items())
    record = writer().record(
        span(words, Settled(settled.id, settled.energy, None, settled.method, True, devices)), 0
    )
    assert record is not None
    assert dict(record.components) == {Component.GPU: 7, Component.CPU: 5}
