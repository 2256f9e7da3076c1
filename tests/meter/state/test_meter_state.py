"""The status says what is known, and why the rest is not."""

from typing import Any

import pytest
from msgspec.structs import replace

from joulegate.ledger.rows import BooksTotal
from joulegate.meter.sampling.sampler import ReaderHealth
from joulegate.meter.state.meter_state import (
    GATES,
    LATE,
    Gates,
    Served,
    UpstreamStates,
    boundary,
    carbon_status,
    degraded,
    device_status,
)
from joulegate.model import (
    Component,
    Device,
    DeviceId,
    EnergySample,
    GateReport,
    Outcome,
    Phase,
    ReplicaReport,
    ReplicaStatus,
    Tier,
    UpstreamReport,
)
from joulegate.ports import DeviceHealth, Intensity
from joulegate.units import Micrograms, Microjoules, Microwatts, Nanoseconds


def device(component: Component) -> Device:
    return Device(DeviceId(component), 0, "d", "fake", Tier.COUNTER, component)


def report(gate: str, flying: int = 1) -> GateReport:
    return GateReport(gate, pid=7, in_flight=(("llm", flying), ("image", 1)))


def test_only_gates_that_are_there_have_requests_under_way() -> None:
    """A gate that died keeps its last report and has nothing in flight."""
    gates = Gates()
    gates.report(report("a", 2))
    gates.report(report("b", 3))
    gates.lose("b")
    assert (gates.in_flight("llm"), gates.in_flight("none"), gates.connected) == (2, 0, 1)
    assert [(gate.id, gate.connected, gate.in_flight) for gate in gates.status()] == [
        ("a", True, 3),
        ("b", False, 0),
    ]


def test_gates_that_are_gone_are_forgotten_in_time() -> None:
    """A gate that restarts all day fills no memory."""
    gates = Gates()
    for number in range(GATES * 2):
        gates.report(report(f"g{number}"))
        if number:
            gates.lose(f"g{number}")
    assert len(gates.status()) <= GATES + 1
    assert gates.status()[0].id == "g0"


@pytest.mark.parametrize(
    ("outcomes", "up"),
    [
        ([], None),
        ([Outcome.OK], True),
        ([Outcome.OK, Outcome.UPSTREAM_REFUSED], False),
        ([Outcome.UPSTREAM_REFUSED, Outcome.CANCELLED], False),
        ([Outcome.UPSTREAM_REFUSED, Outcome.UPSTREAM_ERROR], True),
    ],
)
def test_the_last_request_says_whether_a_server_answers(
    words: Any, outcomes: list[Outcome], up: bool | None
) -> None:
    """A server that answers with an error is there; a client that left says nothing about it."""
    upstreams = UpstreamStates(
        [Served("llm", "http://127.0.0.1:1", devices=(DeviceId("GPU-0"),), note="by port")]
    )
    for outcome in outcomes:
        upstreams.closed("llm", words.closed("a", outcome=outcome))
    (status,) = upstreams.status(Gates())
    assert (status.up, status.devices, status.note) == (up, ("GPU-0",), "by port")


def test_an_upstream_may_move(words: Any) -> None:
    """What is found out later about a server replaces what was known."""
    upstreams = UpstreamStates([Served("llm", "http://127.0.0.1:1")])
    upstreams.change(Served("llm", "http://127.0.0.1:1", model="gemma"))
    assert upstreams.models() == {"llm": "gemma"}


def test_replicas_show_what_all_gates_send_them() -> None:
    """Up is what the last gate with news said; in flight is the sum over the gates that are there."""
    gates, upstreams = Gates(), UpstreamStates([Served("llm", "http://h:1")])
    known = (ReplicaReport("h:1", up=True, models=("m",)), ReplicaReport("h:2", up=False, note="odd"))
    for gate, flying in (("a", 2), ("b", 3), ("c", 4)):
        busy = (("llm", "h:1", flying), ("llm", "h:2", 0), ("other", "h:1", 9))
        told = UpstreamReport("llm", up=True, replicas=known)
        upstreams.learn(gates.report(GateReport(gate, 7, replicas_in_flight=busy, upstreams=(told,))))
    gates.lose("c")
    (status,) = upstreams.status(gates)
    assert status.up
    assert status.replicas == (
        ReplicaStatus("h:1", up=True, in_flight=5, models=("m",)),
        ReplicaStatus("h:2", up=False, in_flight=0, note="odd"),
    )


def test_a_device_shows_its_books_and_its_last_reading() -> None:
    """Power is that of a good reading; a device that is lost has none."""
    last = EnergySample(DeviceId("gpu"), Nanoseconds(5), power=Microwatts(80))
    books = BooksTotal(device=DeviceId("gpu"), counter=Microjoules(9), idle=Microjoules(8), resets=2)
    found = DeviceHealth(Microwatts(50), 1, Nanoseconds(0), (("jump", 1),))
    good = device_status(
        device(Component.GPU),
        books,
        ReaderHealth(up=True, last=last, power=Microwatts(80)),
        found,
        Nanoseconds(9),
    )
    assert (good.power, good.idle_power, good.last_sample_age, good.conservation_error) == (80, 50, 4, 1)
    assert (good.resets, good.rejected) == (2, (("jump", 1),))
    lost = device_status(
        device(Component.GPU),
        books,
        ReaderHealth(up=False, last=last, power=Microwatts(80)),
        found,
        Nanoseconds(9),
    )
    assert (lost.up, lost.power, lost.last_sample_age) == (False, None, 4)


@pytest.mark.parametrize(
    ("components", "pue", "name"),
    [
        ([Component.GPU, Component.GPU], 1.0, "gpu"),
        ([Component.GPU, Component.DRAM], 1.0, "host"),
        ([Component.CPU], 1.0, "cpu"),
        ([], 1.0, "none"),
        ([Component.GPU], 1.2, "facility"),
    ],
)
def test_the_boundary_says_what_the_figures_cover(components: list[Component], pue: float, name: str) -> None:
    """A figure is never shown without its boundary."""
    assert boundary(map(device, components), pue) == name


def test_degraded_names_every_reason() -> None:
    """Modelled watts, a lost device and a ledger that cannot be written are all said."""
    books, found = BooksTotal(device=DeviceId("gpu")), DeviceHealth(None, 0, Nanoseconds(0), ())
    last = EnergySample(DeviceId("gpu"), Nanoseconds(5))
    lost = device_status(
        device(Component.GPU),
        books,
        ReaderHealth(up=False, last=last, power=Microwatts(80)),
        found,
        Nanoseconds(9),
    )
    said = degraded([lost], given="watts are modelled", ledger_lag=Nanoseconds(LATE + 1))
    assert (
        said
        == "watts are modelled; no readings from gpu; the ledger cannot be written; records wait in memory"
    )
    fresh = device_status(device(Component.GPU), books, ReaderHealth(), found, Nanoseconds(9))
    assert degraded([fresh], given="", ledger_lag=Nanoseconds(0)) == ""


def test_carbon_is_shown_with_its_origin() -> None:
    """Zone, year, source and licence stand beside the figure."""
    status = carbon_status(Intensity("FRA", Micrograms(56), "OWID", "CC BY 4.0", 2023))
    assert (status.zone, status.intensity, status.year, status.source, status.licence) == (
        "FRA", 56, 2023, "OWID", "CC BY 4.0",
    )  # fmt: skip


def told(*reports: UpstreamReport) -> GateReport:
    return GateReport("g", pid=7, upstreams=reports)


def test_what_gates_found_out_of_servers_is_shown() -> None:
    """Kind, version and models come from the gates; news is told once, and a question open stays open."""
    gates, upstreams = Gates(), UpstreamStates([Served("llm", "http://127.0.0.1:1")])
    vllm = UpstreamReport("llm", True, "vllm", "0.33", ("qwen",))
    for one, news in (
        (UpstreamReport("llm"), []),
        (vllm, [vllm]),
        (vllm, []),
        (UpstreamReport("elsewhere", True, "tgi"), []),
        (replace(vllm, keeps_working=True), []),
        (replace(vllm, up=False), []),
    ):
        got = upstreams.learn(gates.report(told(one)))
        assert [(new.name, new.kind) for new in got] == [(new.name, new.kind) for new in news]
    (status,) = upstreams.status(gates)
    assert (status.up, status.kind, status.version, status.models) == (False, "vllm", "0.33", ("qwen",))
    assert status.keeps_working is True


def test_an_unknown_server_is_shown_as_configured() -> None:
    """Before any gate has asked, the kind is the configured one and nothing else is known."""
    (status,) = UpstreamStates([Served("llm", "http://127.0.0.1:1", kind="tgi")]).status(Gates())
    assert (status.up, status.kind, status.version, status.keeps_working) == (None, "tgi", "", None)


def test_what_the_power_says_stands_where_no_gate_knows(words: Any) -> None:
    """A server that stays busy without a client is told once; a gate's own finding goes before."""
    gates, gpu = Gates(), DeviceId("GPU-0")
    upstreams = UpstreamStates([Served("llm", "http://127.0.0.1:1", devices=(gpu,))])

    def look(second: int, watts: int) -> list[str]:
        return upstreams.look(Nanoseconds(second * 10**9), {gpu: Microwatts(watts * 10**6)}, gates)

    def leave(second: int) -> list[str]:
        assert look(second, 70) == []
        upstreams.opened(replace(words.opened("a", upstream="llm"), t=Nanoseconds(second * 10**9)))
        left = words.closed("a", outcome=Outcome.CANCELLED, phase=Phase.RESPONSE)
        upstreams.closed("llm", replace(left, t=Nanoseconds((second + 1) * 10**9)))
        return [name for later in range(9) for name in look(second + 1 + later, 300)]

    assert leave(100) == ["llm"]
    assert upstreams.status(gates)[0].keeps_working is True
    assert leave(200) == [], "it is known"
    upstreams.learn([UpstreamReport("llm", True, keeps_working=False)])
    assert upstreams.status(gates)[0].keeps_working is False
