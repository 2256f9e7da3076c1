"""Requests told of in one event."""

from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from joulegate.channel.frames import Whole
from joulegate.channel.gathering import GatheredEvent, Gathering
from joulegate.model import JobState, SpanEvent, SpanFirstByte, SpanId, SpanJob
from joulegate.units import Nanoseconds


def first(id_: str) -> SpanFirstByte:
    return SpanFirstByte(SpanId(id_), Nanoseconds(2))


def apart(events: list[GatheredEvent]) -> list[SpanEvent]:
    """The same news, each for itself."""
    found: list[SpanEvent] = []
    for event in events:
        if not isinstance(event, Whole):
            found.append(event)
            continue
        closed = event.closed
        found.append(event.opened)
        if closed.first_byte is not None:
            found.append(SpanFirstByte(event.id, closed.first_byte))
            closed = replace(closed, first_byte=None)
        found.append(closed)
    return found


def test_a_request_that_is_over_at_once_is_one_event(words: Any) -> None:
    """Its first byte stands in its end."""
    gathering = Gathering()
    assert not gathering.take(words.opened("a"))
    assert not gathering.take(first("a"))
    (whole,) = gathering.take(words.closed("a"))

    assert whole == Whole(words.opened("a"), replace(words.closed("a"), first_byte=Nanoseconds(2)))
    assert len(gathering) == 0


def test_who_runs_is_told_of_two_moments_later(words: Any) -> None:
    """Not at once, for it may end in the next one."""
    gathering = Gathering()
    gathering.take(words.opened("a"))
    assert gathering.moment() == []
    gathering.take(first("a"))
    assert gathering.moment() == [words.opened("a"), first("a")]
    assert gathering.take(words.closed("a")) == (words.closed("a"),)


def test_news_of_a_request_let_its_beginning_go_first(words: Any) -> None:
    """Chunks and jobs never overtake it."""
    gathering = Gathering()
    running = SpanJob(SpanId("b"), Nanoseconds(2), JobState.RUNNING)
    for event in (words.opened("a"), first("a"), words.opened("b")):
        gathering.take(event)

    assert gathering.take(words.chunks("a")) == (words.opened("a"), first("a"), words.chunks("a"))
    assert gathering.take(running) == (words.opened("b"), running)
    assert gathering.take(words.chunks("a")) == (words.chunks("a"),)


def test_what_is_released_is_all(words: Any) -> None:
    """Old and new."""
    gathering = Gathering()
    gathering.take(words.opened("a"))
    gathering.moment()
    gathering.take(words.opened("b"))

    assert gathering.release() == [words.opened("a"), words.opened("b")]
    assert len(gathering) == 0


steps = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["opened", "first", "chunks", "closed", "moment", "release"])
    ),
    max_size=40,
)


@given(steps)
def test_each_request_hears_the_same_in_the_same_order(words: Any, steps: list[tuple[str, str]]) -> None:
    """Whatever comes, twice or out of order, and whenever the moments are."""
    gathering, sent, told = Gathering(), defaultdict(list), []
    for id_, step in steps:
        if step in ("moment", "release"):
            told += getattr(gathering, step)()
            continue
        event = first(id_) if step == "first" else getattr(words, step)(id_)
        if step == "opened" and event in sent[id_]:
            continue  # a gate opens a request once
        sent[id_].append(event)
        told += gathering.take(event)
    told += gathering.release()
    heard = defaultdict(list)
    for event in apart(told):
        heard[event.id].append(event)

    assert heard == {id_: events for id_, events in sent.items() if events}
