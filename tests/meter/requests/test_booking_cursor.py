"""The books of a device go on in the order of time, and a new meter finds where."""

from hypothesis import given
from hypothesis import strategies as st

from joulegate.meter.requests.booking_cursor import PATIENCE, BookingCursor
from joulegate.model import DeviceId, EnergySample, WindowBooks
from joulegate.units import Microjoules, Nanoseconds

GPU = DeviceId("GPU-0")


def sample(t: int, counter: int | None) -> EnergySample:
    return EnergySample(GPU, Nanoseconds(t), None if counter is None else Microjoules(counter))


def window(start: int, end: int, energy: int) -> WindowBooks:
    return WindowBooks(
        GPU, Nanoseconds(start), Nanoseconds(end), Microjoules(energy), Microjoules(energy), Microjoules(0)
    )


def test_a_window_waits_for_the_older_one() -> None:
    """What attribution books early comes out late, in order."""
    positions = BookingCursor("boot")
    positions.sample(sample(1, 100))
    first, second, third = window(1, 10, 4), window(10, 20, 5), window(20, 30, 6)
    assert positions.book([first, third], Nanoseconds(30)) == [first]
    assert not positions.reached([GPU], Nanoseconds(11))
    assert positions.book([second], Nanoseconds(30)) == [second, third]
    assert positions.reached([GPU], Nanoseconds(30))


def test_what_all_devices_have_passed_is_known() -> None:
    """The slowest decides; before anything is booked it is nothing."""
    positions, other = BookingCursor("boot"), DeviceId("other")
    assert positions.reached_by_all() == 0
    positions.sample(sample(1, 100))
    positions.sample(EnergySample(other, Nanoseconds(1), counter=Microjoules(5)))
    positions.book([window(1, 10, 4)], Nanoseconds(30))
    assert positions.reached_by_all() == 1
    positions.book(
        [WindowBooks(other, Nanoseconds(1), Nanoseconds(7), *[Microjoules(0)] * 3)], Nanoseconds(30)
    )
    assert positions.reached_by_all() == 7


def test_a_window_whose_turn_never_comes_is_booked_all_the_same() -> None:
    """No energy waits for ever."""
    positions = BookingCursor("boot")
    positions.book([window(1, 10, 4)], Nanoseconds(10))
    late = window(15, 20, 5)
    assert positions.book([late], Nanoseconds(20)) == []
    assert positions.book([], Nanoseconds(21 + PATIENCE)) == [late]


def test_what_waits_comes_out_at_the_end() -> None:
    """A meter that stops keeps nothing back."""
    positions = BookingCursor("boot")
    positions.book([window(1, 10, 4)], Nanoseconds(10))
    positions.book([window(20, 30, 5)], Nanoseconds(10))
    assert positions.drain() == [window(20, 30, 5)]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30), st.data())
def test_the_reading_at_the_position_is_the_first_one_plus_what_was_booked(
    steps: list[int], data: st.DataObject
) -> None:
    """Without restarts of the counter a new meter goes on to the microjoule."""
    positions, counter, booked = BookingCursor("boot"), 1_000, 0
    counters = [counter := counter + step for step in steps]
    for t, value in enumerate(counters, 1):
        positions.sample(sample(t * 10, value))
    start = 10
    for place, step in enumerate(steps[1:], 1):
        # A cut lies at or between two readings and takes up to all energy between them.
        end = data.draw(st.integers(place * 10 + 1, (place + 1) * 10))
        positions.book([window(start, end, step)], Nanoseconds(end))
        start, booked = end, booked + step
    (reading,) = positions.readings()
    assert (reading.t, reading.counter, reading.boot) == (start, counters[0] + booked, "boot")


def test_after_a_restart_of_the_counter_the_new_values_count() -> None:
    """A sum over a restart would be a value that the counter never had."""
    positions = BookingCursor("boot")
    for t, counter in ((1, 1_000), (10, 1_005), (20, 3), (30, 9)):
        positions.sample(sample(t, counter))
    positions.book([window(1, 10, 5), window(10, 20, 0)], Nanoseconds(20))
    assert positions.readings()[0].counter == 3
    positions.book([window(20, 30, 6)], Nanoseconds(30))
    assert positions.readings()[0].counter == 9


def test_a_step_that_attribution_rejected_is_not_taken_again() -> None:
    """Where the sum of the books is behind the counter, the counter decides."""
    positions = BookingCursor("boot")
    for t, counter in ((1, 100), (10, 10_000), (20, 10_004)):
        positions.sample(sample(t, counter))
    positions.book([window(1, 20, 4)], Nanoseconds(20))
    assert positions.readings()[0].counter == 10_004


def test_a_device_without_a_counter_has_a_position_and_no_reading() -> None:
    """Power that nobody read while the meter was away is unknown."""
    positions = BookingCursor("boot")
    positions.sample(sample(1, None))
    assert positions.book([window(1, 10, 4)], Nanoseconds(10)) == [window(1, 10, 4)]
    assert positions.reached([GPU], Nanoseconds(10))
    assert positions.readings() == ()
