"""Every event is handed on once per gate process, in order; spans are settled where they came from."""

import os
import subprocess
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from joulegate.channel.frames import (
    VERSION,
    Events,
    FrameError,
    FrameSplitter,
    Hello,
    Pong,
    SettledSpans,
    Welcome,
    Whole,
    pack_event,
    unpack_meter,
)
from joulegate.channel.register import LOST_GATES, ConnectedGate, GateRegister
from joulegate.model import ClockStatus, Figures, GateReport, Limits, Outcome, SpanClosed, SpanId, SpanOpened
from joulegate.units import NANO, Nanoseconds


class Wire:
    """What the meter wrote to one connection."""

    def __init__(self) -> None:
        self.written = b""

    def send(self, data: bytes) -> None:
        self.written += data

    def frames(self) -> list[Any]:
        return [unpack_meter(body) for body in FrameSplitter().feed(self.written)]

    def settled(self) -> list[str]:
        frames = self.frames()
        assert isinstance(frames[0], Welcome)
        return [id_ for frame in frames if isinstance(frame, SettledSpans) for id_ in frame.ids]


@pytest.fixture
def notes(make_notes: Any) -> Any:
    return make_notes()


@pytest.fixture
def register(notes: Any) -> GateRegister:
    return GateRegister(notes)


def join(register: GateRegister, wire: Wire, name: str = "gate-0", instance: str = "one") -> ConnectedGate:
    return register.hello(Hello(instance, GateReport(name, os.getpid()), VERSION), wire.send)


def batch(events: list[Any], first: int = 1) -> Events:
    return Events([(number, Raw(pack_event(event))) for number, event in enumerate(events, first)])


def test_what_comes_again_is_handed_on_once(register: GateRegister, notes: Any, words: Any) -> None:
    """A gate that sends everything again after a broken connection is counted once."""
    events = words.span("a")
    gate = join(register, Wire())
    register.events(gate, batch(events[:2]))
    register.left(gate, gate.connections)
    register.events(join(register, Wire()), batch(events))
    assert notes.events == [("gate-0", event) for event in events]
    assert len(notes.connected) == 2


def test_a_new_process_of_the_same_name_begins_anew(register: GateRegister, notes: Any, words: Any) -> None:
    """A restarted gate numbers its events from 1 again; they are new, and the old process is dead."""
    gate = join(register, Wire())
    register.events(gate, batch(words.span("a")))
    register.left(gate, gate.connections)
    register.events(join(register, Wire(), instance="two"), batch(words.span("b")))
    assert notes.lost == ["gate-0"]
    assert [event.id for _, event in notes.events] == ["a"] * 3 + ["b"] * 3


def test_two_living_gates_cannot_share_a_name(register: GateRegister) -> None:
    """One of them would be taken for the death of the other."""
    gate = join(register, Wire())
    with pytest.raises(FrameError, match="another gate named 'gate-0' is connected"):
        join(register, Wire(), instance="two")
    assert register.left(gate, gate.connections)


def test_settled_spans_are_told_to_their_gate_alone(register: GateRegister, words: Any) -> None:
    """Each gate hears of its own spans, once."""
    wires = [Wire(), Wire()]
    gates = [join(register, wire, f"gate-{number}", f"{number}") for number, wire in enumerate(wires)]
    register.events(gates[0], batch([*words.span("a"), *words.span("b")]))
    register.events(gates[1], batch(words.span("c")))
    register.settled({"gate-1": [SpanId("c")], "gate-0": [SpanId("a")], "unknown": [SpanId("d")]})
    assert [wire.settled() for wire in wires] == [["a"], ["c"]]


def test_a_span_that_an_earlier_meter_settled_is_not_counted_again(
    register: GateRegister, notes: Any, words: Any
) -> None:
    """After a restart the gate hears at once of what the meter need not count."""
    notes.settled.add("a")
    wire = Wire()
    register.events(join(register, wire), batch([*words.span("a"), *words.span("b")]))
    assert {event.id for _, event in notes.events} == {"b"}
    assert wire.settled() == ["a"]


def test_what_comes_late_for_a_settled_span_is_answered(
    register: GateRegister, notes: Any, words: Any
) -> None:
    """A gate that was given up comes back: its settled span is known as such, whatever part of it comes."""
    gate = join(register, Wire())
    register.events(gate, batch([words.opened("a")]))
    register.left(gate, gate.connections)
    notes.settled.add("a")
    wire = Wire()
    gate = join(register, wire)
    register.events(gate, batch([words.opened("a")]))
    register.events(gate, batch([words.closed("a")], first=2))
    assert wire.settled() == ["a", "a"]
    assert len(notes.events) == 1


def test_a_gate_that_was_away_at_settlement_hears_of_it_when_it_is_back(
    register: GateRegister, notes: Any, words: Any
) -> None:
    """Settlement while the connection was down does not leave the gate holding the span for ever."""
    gate = join(register, Wire())
    register.events(gate, batch(words.span("a")))
    register.left(gate, gate.connections)
    notes.settled.add("a")
    register.settled({"gate-0": [SpanId("a")]})
    wire = Wire()
    register.events(join(register, wire), batch(words.span("a")))
    assert wire.settled() == ["a"]
    assert len(notes.events) == 3


def test_a_bad_event_is_counted_and_the_others_count(register: GateRegister, notes: Any, words: Any) -> None:
    """An event that this version cannot read does not cut its gate off."""
    gate = join(register, Wire())
    events = batch(words.span("a"))
    events.items[1] = (2, Raw(b"\xc1"))
    register.events(gate, events)
    assert register.rejected_events == 1
    assert [event for _, event in notes.events] == [words.opened("a"), words.closed("a")]


def test_a_handler_that_fails_on_one_event_gets_the_next(
    register: GateRegister, notes: Any, words: Any
) -> None:
    """A fault in the books of one request stays with that request."""
    notes.fails_on = {"a"}
    register.events(join(register, Wire()), batch([words.opened("a"), words.opened("b")]))
    assert register.rejected_events == 1
    assert [event.id for _, event in notes.events] == ["b"]


def test_death_is_told_once(register: GateRegister, notes: Any) -> None:
    """However many ways lead to it."""
    gate = join(register, Wire())
    register.left(gate, gate.connections)
    register.lose(gate)
    register.lose(gate)
    assert notes.lost == ["gate-0"]


def test_a_gate_that_came_back_can_die_again(register: GateRegister, notes: Any) -> None:
    """Each death is told, also of a gate that had been given up too early."""
    for _ in range(2):
        gate = join(register, Wire())
        register.left(gate, gate.connections)
        register.lose(gate)
    assert notes.lost == ["gate-0"] * 2


def test_gates_that_are_gone_are_forgotten(register: GateRegister, notes: Any, words: Any) -> None:
    """Gates that are restarted again and again under new names take no memory."""
    for number in range(3 * LOST_GATES):
        name = f"gate-{number}"
        gate = join(register, Wire(), name, name)
        register.events(gate, batch([words.opened(name)]))
        register.left(gate, gate.connections)
        register.lose(gate)
    assert notes.lost == [f"gate-{number}" for number in range(3 * LOST_GATES)]
    assert len(register._gates) == LOST_GATES


def test_a_gate_that_said_goodbye_is_forgotten_at_once(register: GateRegister, notes: Any) -> None:
    """It cannot come back."""
    gate = join(register, Wire())
    gate.leaving = True
    register.left(gate, gate.connections)
    register.lose(gate)
    assert (register._gates, notes.lost) == ({}, ["gate-0"])


def test_a_gate_that_comes_back_after_its_death_counts_nothing_twice(
    register: GateRegister, notes: Any, words: Any
) -> None:
    """A cable that was out for longer than the grace costs its open requests, and no figure counts twice."""
    gate = join(register, Wire())
    register.events(gate, batch(words.span("a")))
    register.left(gate, gate.connections)
    register.lose(gate)
    register.events(join(register, Wire()), batch([*words.span("a"), *words.span("b")]))
    assert [event.id for _, event in notes.events] == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize("second", [1, 2, 3])
def test_numbers_that_do_not_rise_within_a_connection_are_refused(
    register: GateRegister, notes: Any, words: Any, second: int
) -> None:
    """A gate that mixes up its events would lose some as known: it is told, and begins again."""
    gate = join(register, Wire())
    register.events(gate, batch(words.span("a")))
    with pytest.raises(FrameError, match=f"'gate-0' sent event {second} after event 3: numbers must rise"):
        register.events(gate, batch(words.span("b"), first=second))
    register.left(gate, gate.connections)
    register.events(join(register, Wire()), batch([*words.span("a"), *words.span("b")]))
    assert [event.id for _, event in notes.events] == ["a"] * 3 + ["b"] * 3


def test_another_version_is_refused_with_the_remedy(register: GateRegister, notes: Any) -> None:
    """A gate of before a change of language is not misread."""
    with pytest.raises(FrameError, match=r"gate 'gate-0' speaks version 1 .* run the same joulegate on both"):
        register.hello(Hello("i", GateReport("gate-0", 1)), Wire().send)
    assert notes.connected == []


def test_a_frame_goes_to_all_gates_or_to_one(register: GateRegister) -> None:
    """Figures and limits reach those that are there."""
    wires = [Wire() for _ in range(3)]
    gates = [join(register, wire, f"gate-{number}", f"{number}") for number, wire in enumerate(wires)]
    register.left(gates[2], gates[2].connections)
    register.send(Figures())
    register.send(Limits(), "gate-1")
    register.send(Limits(), "unknown")
    assert [wire.frames()[1:] for wire in wires] == [[Figures()], [Figures(), Limits()], []]


def test_the_end_of_an_older_connection_changes_nothing(register: GateRegister) -> None:
    """A gate with a newer connection is not away because its old one ends."""
    gate = join(register, Wire())
    older = gate.connections
    join(register, Wire())
    assert not register.left(gate, older)
    assert gate.send is not None


class RemoteGate:
    """A gate of another host, whose clock is a day ahead of the meter's."""

    AHEAD = 86_400 * NANO

    def __init__(self, notes: Any) -> None:
        self.now = 10 * NANO
        self.register = GateRegister(
            notes,
            now=lambda: Nanoseconds(self.now),
            clock_id="here",
        )
        self.wire = Wire()
        hello = Hello("one", GateReport("far", os.getpid()), VERSION, clock="there")
        self.gate = self.register.hello(hello, self.wire.send)

    def answer(self, round_trip: int = 2_000_000) -> None:
        """Let the gate answer a question half-way."""
        asked = self.now
        self.now += round_trip
        answered = asked + round_trip // 2 + self.AHEAD
        self.register.answered(self.gate, Pong(Nanoseconds(asked), Nanoseconds(answered)))

    def tells(self, *events: Any) -> None:
        self.register.events(self.gate, batch(list(events), first=self.gate.latest + 1))

    def opened(self, words: Any, t: int) -> SpanOpened:
        """The beginning of a request at a time of the meter's, as this gate tells it."""
        return replace(words.opened(f"at-{t}"), t=Nanoseconds(t + self.AHEAD))


def test_events_of_another_clock_come_at_the_meter_s_times(notes: Any, words: Any) -> None:
    """Each part of what a remote gate tells, a whole request too, as if it had read the meter's clock."""
    remote = RemoteGate(notes)
    remote.answer()
    opened = remote.opened(words, 5)
    remote.tells(Whole(opened, SpanClosed(opened.id, Nanoseconds(opened.t + 3), Outcome.OK)))
    assert [event.t for _, event in notes.events] == [5, 8]
    remote.register.settled({"far": [opened.id]})
    assert remote.wire.settled() == [opened.id]


def test_events_of_an_unknown_clock_are_refused(notes: Any, words: Any) -> None:
    """Times that mean nothing are never taken for the meter's own."""
    remote = RemoteGate(notes)
    with pytest.raises(FrameError, match="'far' sent events before it answered the welcome"):
        remote.tells(words.opened("a"))
    assert notes.events == []


def test_an_answer_to_a_later_question_is_refused(notes: Any) -> None:
    """A gate that answers what was not asked has no clock that could be read."""
    remote = RemoteGate(notes)
    with pytest.raises(FrameError, match="'far' garbles heartbeats"):
        remote.register.answered(remote.gate, Pong(Nanoseconds(remote.now + 1), Nanoseconds(1)))


def test_a_remote_request_comes_with_the_earliest_time_of_its_beginning(notes: Any, words: Any) -> None:
    """It may have begun before this meter, and an earlier one have settled it."""
    remote = RemoteGate(notes)
    remote.answer(round_trip=2_000_000)
    opened = remote.opened(words, 10 * NANO + 1_100_000)
    remote.tells(opened, SpanClosed(opened.id, opened.t, Outcome.OK))
    earliest, none = notes.earliest
    assert 10 * NANO < earliest < 10 * NANO + 200_000
    assert none is None


def test_no_offset_is_kept_of_a_settled_request(notes: Any, words: Any) -> None:
    """Neither of one that an earlier meter settled nor of one that this meter did."""
    remote = RemoteGate(notes)
    remote.answer()
    notes.settled.add("at-5")
    remote.tells(remote.opened(words, 5), remote.opened(words, 6))
    remote.register.settled({"far": [SpanId("at-6")]})
    assert remote.gate.clock is not None
    assert remote.gate.clock._offsets == {}


def test_the_meter_s_own_clock_is_not_estimated(register: GateRegister, notes: Any, words: Any) -> None:
    """Times of a gate on this host pass as they are, whatever its heartbeats took."""
    gate = join(register, Wire())
    register.answered(gate, Pong(Nanoseconds(1), Nanoseconds(1)))
    register.events(gate, batch([words.opened("a")]))
    assert [event.t for _, event in notes.events] == [words.opened("a").t]
    assert register.clocks() == (ClockStatus("gate-0", Nanoseconds(0), Nanoseconds(0)),)


@pytest.mark.parametrize(("clock", "ended"), [("", True), ("there", False)])
def test_a_pid_tells_only_on_its_own_host(register: GateRegister, clock: str, ended: bool) -> None:
    """The process table of this host knows nothing of another's."""
    child = subprocess.Popen(["sleep", "60"])
    gate = register.hello(Hello("one", GateReport("g", child.pid), VERSION, clock), Wire().send)
    assert not gate.has_ended()
    child.kill()
    child.wait()
    assert gate.has_ended() is ended


def test_a_pid_that_was_never_seen_tells_nothing(register: GateRegister) -> None:
    """A gate in a container of its own has a pid that nobody here has, and lives."""
    child = subprocess.Popen(["true"])
    child.wait()
    gate = register.hello(Hello("one", GateReport("g", child.pid), VERSION), Wire().send)
    assert not gate.has_ended()
