"""A gate's times come out on the meter's clock, never further off than is said."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from joulegate.channel.clocks import KEPT, GateClock, RoundTrip, moved_by
from joulegate.model import (
    JobNote,
    JobSign,
    JobState,
    Outcome,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
)
from joulegate.units import NANO, Nanoseconds, nanoseconds

A = SpanId("a")
DAY = 86_400 * NANO


def trip(asked: float, there: float, back: float, ahead: int = DAY) -> RoundTrip:
    """A question and its answer in seconds, by a gate whose clock is so far ahead."""
    answered = nanoseconds(asked + there)
    return RoundTrip(nanoseconds(asked), Nanoseconds(answered + ahead), nanoseconds(asked + there + back))


class Drifting:
    """The clock of a gate: ahead by a constant, with a rate that changes, never by more than 100 ppm."""

    def __init__(self, ahead: int, rates: Sequence[tuple[int, int]]) -> None:
        self._ahead = ahead
        self._rates = rates

    def shows(self, t: int) -> int:
        """What it shows at an instant of the meter's clock; each rate holds for a time, the last for ever."""
        shown, since = t + self._ahead, 0
        for length, ppm in self._rates:
            until = min(t, since + length)
            shown += max(until - since, 0) * ppm // 1_000_000
            since += length
        return shown


TIMES = st.integers(0, 5_000_000)


@given(
    ahead=st.integers(-(10**18), 10**18),
    rates=st.lists(st.tuples(st.integers(1, 100 * NANO), st.integers(-99, 99)), max_size=4),
    trips=st.lists(st.tuples(st.integers(0, 30 * NANO), TIMES, TIMES), min_size=1, max_size=12),
    later=st.integers(0, 100 * NANO),
)
def test_the_offset_is_never_further_off_than_its_bound(
    ahead: int, rates: list[tuple[int, int]], trips: list[tuple[int, int, int]], later: int
) -> None:
    """Whatever the ways there and back take, and however the clocks drift within what quartz does."""
    gate, clock, t = Drifting(ahead, rates), GateClock(), 0
    for gap, there, back in trips:
        asked = t + gap
        t = asked + there + back
        answered = gate.shows(asked + there)
        clock.answered(RoundTrip(Nanoseconds(asked), Nanoseconds(answered), Nanoseconds(t)))
    now = Nanoseconds(t + later)
    found = clock.status("g", now)
    assert abs(gate.shows(now) + found.offset - now) <= found.bound + len(rates)
    assert clock.earliest(Nanoseconds(gate.shows(now))) <= now + len(rates)


@given(there=TIMES, back=TIMES)
def test_the_error_is_half_the_difference_of_the_ways(there: int, back: int) -> None:
    """Ways of one length leave no error but that of rounding."""
    clock = GateClock()
    asked = 5 * NANO
    clock.answered(RoundTrip(*map(Nanoseconds, (asked, asked + there + DAY, asked + there + back))))
    error = clock.status("g", Nanoseconds(asked + there + back)).offset + DAY
    assert abs(2 * error - (back - there)) <= 1


def test_the_best_round_trip_counts_until_a_newer_one_is_worth_more() -> None:
    """A short one is kept through long ones, for a minute at most, while its bound grows with 100 ppm."""
    clock = GateClock()
    clock.answered(trip(0, 0.002, 0.002))
    first = clock.status("g", nanoseconds(0.004)).offset
    for second in (1, 2, 59):
        clock.answered(trip(second, 0.05, 0.01))
        assert clock.status("g", nanoseconds(second + 0.06)).offset == first
    assert clock.status("g", nanoseconds(50)).bound == pytest.approx(0.002 * NANO + 0.005 * NANO, abs=2)
    clock.answered(trip(60.1, 0.05, 0.01))
    assert clock.status("g", nanoseconds(60.2)).offset != first
    clock.answered(trip(61, 0.003, 0.003))
    assert clock.status("g", nanoseconds(61.006)).bound == pytest.approx(0.003 * NANO, abs=1000)


def test_a_long_silence_leaves_the_newest() -> None:
    """A gate that comes back after hours has an offset at once, with a bound that says how old it is."""
    clock = GateClock()
    assert not clock.is_known
    clock.answered(trip(0, 0.001, 0.001))
    assert clock.is_known
    assert clock.status("g", Nanoseconds(10 * KEPT)).bound > 0.06 * NANO


def test_a_host_that_slept_begins_anew() -> None:
    """A clock that stood still meanwhile is another clock, however good the round trips before were."""
    clock = GateClock()
    clock.answered(trip(0, 0.0001, 0.0001, ahead=DAY))
    clock.answered(trip(1, 0.01, 0.01, ahead=DAY - 5 * NANO))
    assert clock.status("g", nanoseconds(1.02)).offset == -(DAY - 5 * NANO)


def test_an_answer_before_its_question_is_none() -> None:
    """Nothing is computed from it."""
    with pytest.raises(ValueError, match="not asked yet"):
        GateClock().answered(RoundTrip(Nanoseconds(2), Nanoseconds(1), Nanoseconds(1)))


def test_all_events_of_a_request_are_moved_alike() -> None:
    """A better offset changes the place of later requests, never the duration of one that is open."""
    clock = GateClock()
    clock.answered(trip(0, 0.5, 0.1))
    opened = clock.moved(SpanOpened(A, Nanoseconds(DAY), "llm", "openai", Task.CHAT))
    clock.answered(trip(1, 0.001, 0.001))
    closed = clock.moved(SpanClosed(A, Nanoseconds(DAY + NANO), Outcome.OK))
    assert isinstance(opened, SpanOpened)
    assert isinstance(closed, SpanClosed)
    assert closed.t - opened.t == NANO
    clock.forget([A])
    again = clock.moved(closed)
    assert isinstance(again, SpanClosed)
    assert again.t == closed.t + clock.status("g", Nanoseconds(2 * NANO)).offset


T = Nanoseconds(10**12)
EVENTS: list[SpanEvent] = [
    SpanOpened(A, T, "llm", "openai", Task.CHAT),
    SpanFirstByte(A, T),
    SpanChunks(A, [T, T], [1, 2]),
    SpanJob(A, T, JobState.RUNNING),
    SpanClosed(
        A,
        T,
        Outcome.OK,
        client_left=T,
        first_byte=T,
        overhead_request=Nanoseconds(7),
        overhead_response=Nanoseconds(7),
    ),
    SpanClosed(A, T, Outcome.OK),
    JobNote(A, T, "sd", JobSign("j", JobState.DONE, began=T, ended=T, grain=Nanoseconds(7)), last=T),
    JobNote(A, T, "sd", JobSign("j", JobState.DONE)),
]


def times(value: Any) -> list[int]:
    """Every instant in a struct: a whole number that is no duration, for those here are small."""
    match value:
        case int() if value > T // 2:
            return [value]
        case list() | tuple():
            return [t for item in value for t in times(item)]
        case Struct():
            return [t for name in value.__struct_fields__ for t in times(getattr(value, name))]
        case _:
            return []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_time_of_an_event_is_moved_and_nothing_else(event: SpanEvent) -> None:
    """An instant that stayed behind would be of another host; a duration is the same on any."""
    moved = moved_by(event, Nanoseconds(500))
    assert times(moved) == [T + 500] * len(times(event))
    assert times(event)
    assert moved_by(moved, Nanoseconds(-500)) == event
