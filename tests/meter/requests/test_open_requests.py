"""An event counts once, whichever gate repeats it and whichever meter settled its request."""

from typing import Any

import pytest

from joulegate.meter.requests.open_requests import MAX_EARLY, OpenRequest, OpenRequests
from joulegate.model import Outcome, SpanClosed, SpanId
from joulegate.units import Nanoseconds

A = SpanId("a")


class FakeLedger:
    """Holds what a test says, and counts the questions."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.asked: list[str] = []

    def has(self, id_: SpanId) -> bool:
        self.asked.append(id_)
        return id_ in self.held


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def requests(ledger: FakeLedger) -> OpenRequests:
    return OpenRequests(ledger.has)


def settled(requests: OpenRequests, words: Any, id_: str = "a") -> None:
    """Bring a request to its record."""
    for event in (words.opened(id_), words.closed(id_)):
        requests.add("gate", event)
    request = requests.get(SpanId(id_))
    assert request is not None
    assert request.settle(words.settled(id_))
    requests.finish(request)


def test_the_first_of_a_kind_counts(requests: OpenRequests, words: Any) -> None:
    """Beginning, first byte and end come once, from whichever gate."""
    told = [words.opened("a"), words.first_byte("a"), words.closed("a")]
    assert [tuple(requests.add("gate", event)) for event in told] == [(event,) for event in told]
    later = [words.opened("a", 7), words.first_byte("a", 8), words.closed("a", 9)]
    assert [tuple(requests.add("other", event)) for event in later] == [()] * 3
    request = requests.get(A)
    assert request is not None
    assert (request.gate, request.opened, request.closed) == ("gate", told[0], told[2])


def test_the_beginning_counts_first(requests: OpenRequests, words: Any) -> None:
    """What came before it waits, and counts right after it."""
    end = words.closed("a")
    assert requests.add("gate", end) == ()
    assert requests.add("gate", words.opened("a")) == (words.opened("a"), end)
    assert requests.add("gate", end) == ()


def test_what_waits_for_a_beginning_that_never_comes_is_bounded(requests: OpenRequests, words: Any) -> None:
    """A gate that leaves it out takes no memory without end."""
    running = [words.running("a", t) for t in range(MAX_EARLY + 10)]
    for event in running:
        requests.add("gate", event)
    assert list(requests.add("gate", words.opened("a")))[1:] == running[:MAX_EARLY]


def test_nothing_counts_after_the_final_figure(requests: OpenRequests, words: Any) -> None:
    """Its energy is shared out; a provisional figure closes nothing."""
    requests.add("gate", words.opened("a"))
    request = requests.get(A)
    assert request is not None
    assert not request.settle(words.settled("a", 1, final=False))
    assert requests.add("gate", words.closed("a"))
    assert request.settle(words.settled("a", 2))
    assert not request.settle(words.settled("a", 3))
    assert request.settled == words.settled("a", 2)
    assert requests.add("gate", words.first_byte("a")) == ()


def test_a_request_with_a_record_is_settled_once_that_is_on_disk(
    requests: OpenRequests, ledger: FakeLedger, words: Any
) -> None:
    """Until then its gate keeps it, and afterwards only the gate that reported it is told."""
    settled(requests, words)
    for event in (words.opened("a"), words.closed("a")):
        assert requests.add("other", event) == ()
    assert not requests.is_settled(A)
    asked = list(ledger.asked)
    assert requests.written([A, SpanId("unknown")]) == [("gate", A)]
    assert requests.written([A]) == []
    assert requests.is_settled(A)
    assert requests.add("gate", words.opened("a")) == ()
    assert ledger.asked == asked, "this meter knows"


def test_what_an_earlier_meter_settled_is_not_counted_again(
    requests: OpenRequests, ledger: FakeLedger, words: Any
) -> None:
    """The ledger is asked once for each request, whatever comes of it."""
    ledger.held.add("a")
    for name in ("a", "b"):
        for event in (words.opened(name), words.first_byte(name), words.closed(name)):
            assert bool(requests.add("gate", event)) == (name == "b")
    assert requests.is_settled(A)
    assert ledger.asked == ["a", "b"]


def test_the_ledger_is_not_asked_for_what_no_other_meter_can_have_settled(
    ledger: FakeLedger, words: Any
) -> None:
    """A request that was opened under this meter costs no look into the ledger."""
    requests = OpenRequests(ledger.has, began=words.at(1))
    assert requests.add("gate", words.opened("a", 1))
    assert ledger.asked == []
    ledger.held |= {"b", "c"}
    assert requests.add("gate", words.opened("b", 0.9)) == ()
    assert requests.add("gate", words.opened("c", 1.1), words.at(0.9)) == (), "its gate's clock is not exact"


def test_a_request_that_this_meter_settled_begins_no_second_time(ledger: FakeLedger, words: Any) -> None:
    """Although it was opened under this meter: a gate may come back late and send all of it again."""
    requests = OpenRequests(ledger.has, began=Nanoseconds(0))
    settled(requests, words)
    assert requests.add("gate", words.opened("a")) == ()
    requests.written([A])
    assert requests.add("gate", words.opened("a")) == ()


def test_the_oldest_is_given_up_for_want_of_room(ledger: FakeLedger, words: Any) -> None:
    """Attribution hears of its end, and nothing that comes for it later counts."""
    requests = OpenRequests(ledger.has, room=1)
    requests.add("gate", words.opened("a", 1))
    end, beginning = requests.add("gate", words.opened("b", 2))
    assert isinstance(end, SpanClosed)
    assert (end.id, end.outcome, beginning) == ("a", Outcome.ORPHANED, words.opened("b", 2))
    assert requests.add("gate", words.closed("a")) == ()
    assert (requests.given_up, [request.id for request in requests]) == (1, ["b"])


def test_only_open_requests_of_the_dead_gate_are_orphans(requests: OpenRequests, words: Any) -> None:
    """What another gate has open, or this one closed, goes on; what never began is forgotten."""
    for name, gate in (("a", "dead"), ("b", "dead"), ("c", "alive"), ("d", "dead")):
        requests.add(gate, words.opened(name, 4) if name != "d" else words.closed(name))
    requests.add("dead", words.closed("b"))
    requests.add("dead", words.opened("job", 4))
    requests.add("dead", words.running("job", 5))
    (end,) = requests.orphans("dead", Nanoseconds(3))
    assert (end.id, end.t, end.outcome) == ("a", 4 * 10**9, Outcome.ORPHANED)
    assert [request.id for request in requests] == ["a", "b", "c", "job"]


def test_an_end_may_bring_the_first_byte(words: Any) -> None:
    """Of a request that a gate told of in one event."""
    request = OpenRequest(A, "gate")
    request.add(words.opened("a", 2))
    request.add(words.closed("a", 5, first_byte=3 * 10**9))
    assert request.first_byte == 3 * 10**9
    assert not request.add(words.first_byte("a", 4))
