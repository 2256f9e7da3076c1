"""Which requests touch which windows."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulegate.attribution.features.window_overlap import WindowOverlap
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.windows import Window
from joulegate.units import NANO

times = st.integers(0, 50)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spans=st.lists(st.tuples(times, times), min_size=1, max_size=8),
    chosen=st.lists(st.booleans(), min_size=20, max_size=20),
    cursor=st.integers(0, 60),
)
def test_waiting_is_touching_a_pending_window_or_time_to_come(
    make: Any, spans: list[tuple[int, int]], chosen: list[bool], cursor: int
) -> None:
    """The fast answer is the plain one."""
    people = []
    for place, (a, b) in enumerate(spans):
        one = RequestInput(make.opened(str(place), float(min(a, b))), 0, place)
        one.take(make.closed(str(place), float(max(a, b))))
        people.append(one)
    windows = [Window(3 * i * NANO, 3 * (i + 1) * NANO, {}, {}) for i in range(20) if chosen[i]]
    crowd = WindowOverlap(people, 0, 0.25)
    plain = [
        (one.end or 0) + 0.25 > cursor
        or any(3 * NANO and crowd.touching(window)[place] for window in windows)
        for place, one in enumerate(people)
    ]

    assert crowd.waiting(windows, cursor * NANO).tolist() == plain


def test_who_runs_touches_all_that_comes(make: Any) -> None:
    """A request without an end is there until it has one."""
    crowd = WindowOverlap([RequestInput(make.opened("a", 5.0), 0, 0)], 0, 0.1)

    assert not crowd.within(Window(0, 4 * NANO, {}, {}))
    assert crowd.within(Window(900 * NANO, 901 * NANO, {}, {}))
    assert crowd.waiting([], None).all()
