"""A gate keeps what is not settled, within bounds, and counts what it gives up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.channel.frames import MAX_EVENT, unpack_event
from joulegate.channel.retained import Bounds, Retained
from joulegate.model import JobNote, JobSign, JobState, SpanId
from joulegate.units import Nanoseconds

SMALL = Bounds(size=4000, spans=5)


@pytest.fixture
def kept() -> Any:
    """Gives the (id, kind) of everything that is kept, in order."""

    def look(retained: Retained) -> list[tuple[str, str]]:
        packed = [retained.get(sequence) for sequence in retained.sequences()]
        events = [unpack_event(one) for one in packed if one is not None]
        return [(event.id, type(event).__name__.removeprefix("Span").lower()) for event in events]

    return look


def test_events_stay_in_order_until_their_span_is_settled(words: Any, kept: Any) -> None:
    """Nothing is let go of before the meter has settled it, and then all of it."""
    retained = Retained(Bounds())
    numbers = [retained.add(event) for event in [*words.span("a"), words.opened("b")]]
    assert numbers == retained.sequences() == [1, 2, 3, 4]
    retained.settle([SpanId("a"), SpanId("unknown")])
    assert kept(retained) == [("b", "opened")]
    retained.settle([SpanId("b")])
    assert (retained.size, retained.spans, retained.dropped, retained.forgotten) == (0, 0, 0, 0)


def test_beyond_the_bound_the_oldest_closed_span_goes_first(words: Any, kept: Any) -> None:
    """Open requests keep their events; the oldest finished one is given up, whole."""
    retained = Retained(SMALL)
    retained.add(words.opened("open"))
    for id_ in "abcd":
        for event in (words.opened(id_), words.closed(id_)):
            retained.add(event)
    retained.add(words.opened("e"))
    assert {id_ for id_, _ in kept(retained)} == {"open", "b", "c", "d", "e"}
    assert retained.dropped == 2


@pytest.mark.parametrize("size", range(4000, 4600, 50))
def test_without_closed_spans_the_oldest_chunks_go(words: Any, kept: Any, size: int) -> None:
    """Chunk times refine a figure; beginnings and ends decide it and stay."""
    retained = Retained(Bounds(size=size, spans=5))
    retained.add(words.opened("a"))
    for _ in range(100):
        retained.add(words.chunks("a"))
    retained.add(words.closed("a"))
    found = kept(retained)
    assert found[0] == ("a", "opened")
    assert found[-1] == ("a", "closed")
    assert retained.dropped == 102 - len(found) > 0


def test_a_request_too_many_is_dropped_whole(words: Any, kept: Any) -> None:
    """With only open requests the newest one is not kept, nor anything later of it."""
    retained = Retained(SMALL)
    for id_ in "abcdef":
        retained.add(words.opened(id_))
    assert retained.add(words.chunks("f")) is None
    assert retained.add(words.closed("f")) is None
    assert kept(retained) == [(id_, "opened") for id_ in "abcde"]
    assert retained.dropped == 3


def test_what_a_meter_had_is_forgotten_not_dropped(words: Any) -> None:
    """A full gate whose meter works reports no loss."""
    retained = Retained(SMALL)
    for number in range(20):
        for event in words.span(f"s{number}"):
            sequence = retained.add(event)
            assert sequence is not None
            retained.handed_over(sequence)
    assert retained.dropped == 0
    assert retained.forgotten > 0


def test_what_cannot_be_sent_is_counted(words: Any) -> None:
    """An event that no frame holds is dropped alone, without an error."""
    retained = Retained(Bounds())
    retained.add(words.opened("a"))
    assert retained.add(words.chunks("a", MAX_EVENT)) is None
    assert (retained.dropped, retained.spans) == (1, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(["opened", "chunks", "closed", "settle", "hand over"]), st.integers(0, 7)),
        max_size=150,
    )
)
def test_the_bounds_hold_and_every_event_is_accounted_for(words: Any, acts: list[tuple[str, int]]) -> None:
    """Whatever happens: never above a bound, and added = kept + settled + dropped + forgotten."""
    retained = Retained(SMALL)
    added = settled = 0
    for act, number in acts:
        id_ = f"s{number}"
        match act:
            case "settle":
                before = len(retained.sequences())
                retained.settle([SpanId(id_)])
                settled += before - len(retained.sequences())
            case "hand over":
                retained.handed_over(max(retained.sequences(), default=0))
            case _:
                retained.add(getattr(words, act)(id_))
                added += 1
        kept_now = retained.sequences()
        assert kept_now == sorted(kept_now)
        assert retained.size <= SMALL.size
        assert retained.spans <= SMALL.spans
        assert added == len(kept_now) + settled + retained.dropped + retained.forgotten
    retained.settle([SpanId(f"s{number}") for number in range(8)])
    assert (retained.size, retained.spans, retained.sequences()) == (0, 0, [])


def test_what_was_heard_of_a_job_of_another_gate_is_kept_until_it_is_settled() -> None:
    """It has no request of this gate's own; and of one's own job nothing is kept once it was given up."""
    retained = Retained(Bounds())
    heard = JobNote(SpanId("ear"), Nanoseconds(1), "comfy", JobSign("j", JobState.RUNNING))
    own = JobNote(SpanId("gone"), Nanoseconds(1), "comfy", JobSign("j", JobState.ACCEPTED), own=True)
    first, second = retained.add(heard), retained.add(own)
    assert (first, second, retained.spans) == (1, None, 1)
    retained.settle([SpanId("ear")])
    assert retained.sequences() == []
