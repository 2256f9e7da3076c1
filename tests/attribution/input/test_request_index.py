"""Requests by time."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.request_index import BLOCK_REQUESTS, RequestIndex

starts = st.floats(0, 100, allow_nan=False)


def request(make: Any, place: int, start: float, length: float | None) -> RequestInput:
    one = RequestInput(make.opened(str(place), start), 0, place)
    if length is not None:
        one.take(make.closed(str(place), start + length))
    return one


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.integers(0, 2**32), starts, st.floats(0, 20))
def test_who_is_near_is_found_without_a_look_at_all(
    make: Any, seed: int, start: float, length: float
) -> None:
    """The answer is the plain one, in the order of arrival, whatever lies in blocks."""
    index, everyone = RequestIndex(), []
    for place in range(3 * BLOCK_REQUESTS):
        came = place / 10 + (seed * (place + 1) % 7) / 10
        runs = (seed >> place % 30) % 40
        one = request(make, place, came, None if runs == 0 else runs / 3)
        index.add(one)
        everyone.append(one)
        index.near(0.0, 0.0)
    plain = [s for s in everyone if s.start <= start + length and (s.end is None or s.end >= start)]

    assert index.near(start, start + length) == plain
    assert len(plain) <= index.about(start, start + length) <= len(plain) + 4 * BLOCK_REQUESTS


def test_only_what_is_settled_and_over_is_forgotten(make: Any) -> None:
    """A request that waits for its figure stays, whatever the time."""
    index = RequestIndex()
    for place in range(4 * BLOCK_REQUESTS):
        one = request(make, place, place / 100, 0.5)
        index.add(one)
    index.near(0.0, 0.0)
    unsettled = set(range(2 * BLOCK_REQUESTS + 10, 4 * BLOCK_REQUESTS))
    gone = index.forget(1e9, unsettled)
    kept = list(index)

    assert len(kept) <= 2 * BLOCK_REQUESTS
    assert {span.id for span in kept} >= {
        str(place) for place in range(2 * BLOCK_REQUESTS + 10, 4 * BLOCK_REQUESTS)
    }
    assert len(gone) + len(kept) == 4 * BLOCK_REQUESTS
    index.forget(1e9, set())

    assert len(index) == 0
    assert index.near(0.0, 1e9) == []


def test_the_first_that_is_not_settled_is_known_about(make: Any) -> None:
    """Nobody who is not settled began before it."""
    index = RequestIndex()
    for place in range(4 * BLOCK_REQUESTS):
        one = request(make, place, 10 + place / 100, 0.5)
        index.add(one)
    index.near(0.0, 0.0)

    assert index.first_start(set(range(BLOCK_REQUESTS, 4 * BLOCK_REQUESTS))) <= 10 + BLOCK_REQUESTS / 100
    assert index.first_start(set()) == float("inf")


def test_some_can_be_taken_out_at_once(make: Any) -> None:
    """Whether or not they lie in a block."""
    index = RequestIndex()
    spans = [request(make, place, place / 100, 0.5) for place in range(3 * BLOCK_REQUESTS)]
    for one in spans:
        index.add(one)
    index.near(0.0, 0.0)
    index.remove([spans[0], spans[-1]])

    assert index.near(0.0, 1e9) == spans[1:-1]
