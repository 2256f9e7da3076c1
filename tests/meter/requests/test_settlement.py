"""Every request becomes one record, whatever the order in which things are told."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from joulegate.meter.requests.booking_cursor import PATIENCE
from joulegate.meter.requests.settlement import Settlement
from joulegate.model import JobState, Node, Outcome, SpanClosed, SpanJob
from joulegate.units import Microjoules, Nanoseconds


def tell(settlement: Settlement, *events: Any) -> None:
    for event in events:
        settlement.event("gate", event)


def test_a_final_figure_becomes_a_record_with_its_books(
    settlement: Settlement, attributor: Any, words: Any
) -> None:
    """Record, books and reading of one settlement come out together."""
    settlement.sample(words.sample(0.5, 100))
    tell(settlement, words.opened("a"), words.closed("a"))
    assert settlement.pending == 1
    attributor.give([words.settled("a")], [words.window(0.5, 3)])
    found = settlement.advance(words.at(4), words.at(1_000))
    assert [record.id for record in found.records] == ["a"]
    assert found.books == (words.window(0.5, 3),)
    assert [(reading.t, reading.counter) for reading in found.readings] == [(words.at(3), 100)]
    assert settlement.pending == 0


def test_a_record_waits_for_the_books_of_its_time(
    settlement: Settlement, attributor: Any, words: Any
) -> None:
    """What is written together belongs together: no record before its energy is booked."""
    settlement.sample(words.sample(0.5, 100))
    tell(settlement, words.opened("a"), words.closed("a"))
    attributor.give([words.settled("a")], [words.window(0.5, 1), words.window(1.5, 3)])
    assert settlement.advance(words.at(4), words.at(4)).records == ()
    attributor.give([], [words.window(1, 1.5)])
    found = settlement.advance(words.at(5), words.at(5))
    assert ([record.id for record in found.records], len(found.books)) == (["a"], 2)


def test_a_record_does_not_wait_for_ever(settlement: Settlement, attributor: Any, words: Any) -> None:
    """If the books of its device stop, the request is recorded all the same."""
    tell(settlement, words.opened("a"), words.closed("a"))
    attributor.give([words.settled("a")])
    assert settlement.advance(words.at(4), words.at(4)).records == ()
    late = Nanoseconds(words.at(3) + PATIENCE)
    assert len(settlement.advance(late, late).records) == 1


def test_a_provisional_figure_is_found_and_not_recorded(
    settlement: Settlement, attributor: Any, words: Any
) -> None:
    """Who asks early gets the figure as it stands, by our id or the client's."""
    tell(settlement, words.opened("a", client_request_id="theirs"), words.closed("a"))
    assert settlement.find("a") is None
    attributor.give([words.settled("a", 3, final=False)])
    assert settlement.advance(words.at(4), words.at(4)).records == ()
    for name in ("a", "theirs"):
        record = settlement.find(name)
        assert record is not None
        assert (record.settled.energy, record.settled.final) == (3, False)


def test_a_request_that_is_in_the_ledger_is_left_alone(
    settlement: Settlement, attributor: Any, words: Any
) -> None:
    """After a restart gates tell everything again that they have not seen settled."""
    tell(settlement, words.opened("before"), words.closed("before"))
    assert (attributor.events, settlement.pending) == ([], 0)


def test_open_requests_of_a_dead_gate_end_as_orphans(
    settlement: Settlement, attributor: Any, words: Any
) -> None:
    """Nobody else will close them, and their energy must not wait."""
    tell(settlement, words.opened("a"), words.opened("b"), words.closed("b"))
    settlement.gate_lost("other", words.at(3))
    settlement.gate_lost("gate", words.at(3))
    ends = [event for event in attributor.events if isinstance(event, SpanClosed)]
    assert [(end.id, end.outcome) for end in ends] == [("b", Outcome.OK), ("a", Outcome.ORPHANED)]


def test_books_that_do_not_balance_are_reported_and_booked(
    settlement: Settlement, attributor: Any, words: Any
) -> None:
    """A fault of attribution is shown, not hidden, and never stops the meter."""
    window = words.window(0.5, 3)
    wrong = type(window)(
        window.device, window.start, window.end, Microjoules(99), window.requests, window.idle
    )
    attributor.give([], [wrong])
    found = settlement.advance(words.at(4), words.at(4))
    assert found.unbalanced == found.books == (wrong,)


def test_drain_keeps_nothing_back(settlement: Settlement, attributor: Any, words: Any) -> None:
    """At the end every figure and every window comes out, in whatever order they were booked."""
    settlement.sample(words.sample(0.5, 100))
    tell(settlement, words.opened("a"), words.closed("a"))
    attributor.give([words.settled("a")], [words.window(1, 3), words.window(0.5, 0.6)])
    found = settlement.drain(words.at(4), words.at(4))
    assert ([record.id for record in found.records], len(found.books)) == (["a"], 2)


@given(st.data())
def test_duplicates_and_disorder_change_nothing(
    words: Any,
    new_settlement: Callable[..., Settlement],
    new_attributor: Callable[[], Any],
    data: st.DataObject,
) -> None:
    """However events repeat and mix, each request has one record with the same figures."""
    names = [f"r{number}" for number in range(data.draw(st.integers(1, 4)))]
    events = [
        event for name in names for event in (words.opened(name), words.first_byte(name), words.closed(name))
    ]
    told = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=10))))
    attributor = new_attributor()
    settlement = new_settlement(attributor)
    tell(settlement, *told)
    attributor.give([words.settled(name, 5, final=final) for name in names for final in (False, True, True)])
    attributor.give([], [words.window(0, 9)])
    records = list(settlement.advance(words.at(9), words.at(9)).records)
    tell(settlement, *told)
    attributor.give([words.settled(name, 99) for name in names], [words.window(9, 12)])
    records += settlement.advance(words.at(12), words.at(12)).records
    assert sorted((record.id, record.settled.energy, record.duration) for record in records) == [
        (name, 5, words.at(1)) for name in names
    ]


def test_a_job_is_one_request_from_its_submission_to_its_real_end(
    settlement: Settlement, attributor: Any, words: Any
) -> None:
    """Attribution hears that it runs, and of its end when it is; its steps share its energy exactly."""
    nodes = (Node("3", "KSampler"), Node("8", "VAEDecode"))
    tell(
        settlement,
        words.opened("a"),
        words.noted("a", 1.1, JobState.ACCEPTED, own=True, nodes=nodes),
        words.closed("a", 1.2),
    )
    settlement.gate_lost("gate", words.at(1.5))
    assert settlement.pending == 0
    for t, state, node in ((2, JobState.RUNNING, "3"), (4, JobState.RUNNING, "8"), (5, JobState.DONE, None)):
        settlement.event("other", words.noted("ear", t, state, pushed=True, node=node))
    assert [(event.t, event.state) for event in attributor.events if isinstance(event, SpanJob)] == [
        (words.at(1.1), JobState.ACCEPTED),
        (words.at(2), JobState.RUNNING),
    ]
    attributor.give([words.settled("a", 10)], [words.window(0.5, 9)])
    (record,) = settlement.advance(words.at(9), words.at(9)).records
    assert (record.duration, record.job, record.status) == (words.at(4), "j", 200)
    assert [(part.node.kind, part.time, part.energy) for part in record.parts] == [
        ("KSampler", words.at(2), 7),
        ("VAEDecode", words.at(1), 3),
    ]
    assert settlement.written([record.id]) == {"gate": ["a"], "other": ["ear"]}


def test_a_job_is_found_by_the_servers_id(settlement: Settlement, attributor: Any, words: Any) -> None:
    """That is what its client knows."""
    accepted = words.noted("a", 1.1, JobState.ACCEPTED, own=True)
    tell(settlement, words.opened("a"), accepted, words.closed("a"), words.noted("ear", 3, JobState.DONE))
    attributor.give([words.settled("a", 3, final=False)])
    settlement.advance(words.at(4), words.at(4))
    found = settlement.find("j")
    assert found is not None
    assert found.id == "a"


def test_open_jobs_end_with_the_last_gate(settlement: Settlement, attributor: Any, words: Any) -> None:
    """While there is one, it keeps them for the meter that comes next."""
    accepted = words.noted("a", 1.1, JobState.ACCEPTED, own=True)
    tell(settlement, words.opened("a"), accepted, words.closed("a"))
    settlement.abandon_jobs(1)
    assert attributor.events[-1:] == [SpanJob(accepted.id, accepted.t, JobState.ACCEPTED)]
    settlement.abandon_jobs(0)
    assert attributor.events[-1].outcome is Outcome.ORPHANED
