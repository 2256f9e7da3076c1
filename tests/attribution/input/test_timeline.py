"""The cumulative energy of one device."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from joulegate.attribution.input.timeline import Timeline
from joulegate.model import Device, DeviceId, EnergySample, SourceFailure, Tier
from joulegate.units import MICRO, Microjoules, Microwatts, Nanoseconds

DEVICE = Device(DeviceId("gpu0"), 0, "test", "fake", Tier.COUNTER, power_limit=Microwatts(700 * MICRO))
FREE = Device(DeviceId("gpu0"), 0, "test", "fake", Tier.COUNTER)


def read(t_ms: int, joules: int | None = None, watts: int | None = None) -> EnergySample:
    return EnergySample(
        DEVICE.id,
        Nanoseconds(t_ms * MICRO),
        counter=None if joules is None else Microjoules(joules * MICRO),
        power=None if watts is None else Microwatts(watts * MICRO),
    )


def timeline(*samples: EnergySample, device: Device = DEVICE) -> Timeline:
    line = Timeline(device)
    for sample in samples:
        line.add(sample)
    return line


def test_an_edge_lies_between_the_poll_that_saw_it_and_the_one_before() -> None:
    """The counter moved at some time between two polls: half-way is the best guess."""
    line = timeline(read(0, 100), read(50, 100), read(100, 110))

    assert line.times == [0, 75 * MICRO]
    assert line.energy(75 * MICRO) == 10 * MICRO


def test_after_a_long_pause_the_edge_is_recent() -> None:
    """Half of a long pause says nothing: the counter's last update is about 30 ms old."""
    line = timeline(read(0, 100), read(800, 300))

    assert line.times[-1] == 770 * MICRO


def test_energy_is_linear_between_edges_and_rounded_down() -> None:
    """Between two edges energy grows evenly."""
    line = timeline(read(0, 0), read(100, 7))

    assert line.energy(25 * MICRO) == 7 * MICRO // 2
    assert line.energy(MICRO // 3) == 7 * MICRO * (MICRO // 3) // (50 * MICRO)


def test_a_counter_that_restarts_opens_a_gap_and_invents_nothing() -> None:
    """What lies between the last value and the first new one is unknown: seconds, not joules."""
    line = timeline(read(0, 100), read(100, 130), read(200, 5), read(300, 15))

    assert line.resets == 1
    assert line.gap == 100 * MICRO
    assert line.totals[-1] == 40 * MICRO


def test_a_failed_reading_is_bridged_by_the_counter() -> None:
    """A hole in the polls is no gap if the counter went on."""
    line = timeline(read(0, 100))
    line.fail(SourceFailure(DEVICE.id, Nanoseconds(100 * MICRO), "NVMLError_GpuIsLost"))
    line.add(read(5000, 1100))

    assert line.gap == 0
    assert line.totals[-1] == 1000 * MICRO


def test_a_jump_above_the_power_limit_is_not_energy() -> None:
    """One impossible value is dropped and counted; the next good one goes on from the last."""
    line = timeline(read(0, 100), read(100, 9_000_000), read(200, 150))

    assert line.rejected["jump"] == 1
    assert line.totals[-1] == 50 * MICRO
    assert line.gap == 0


def test_a_jump_that_stays_is_a_new_epoch() -> None:
    """If the counter goes on from the impossible value, what lies before it is unknown."""
    line = timeline(read(0, 100), read(100, 9_000_000), read(200, 9_000_040))

    assert line.totals[-1] == 40 * MICRO
    assert line.gap == 100 * MICRO


def test_power_readings_are_integrated() -> None:
    """A card without a counter gets one from its power."""
    line = timeline(read(0, watts=100), read(1000, watts=300))

    assert line.energy(1000 * MICRO) == 200 * MICRO
    assert line.energy(500 * MICRO) == 100 * MICRO


def test_power_readings_too_far_apart_leave_a_gap() -> None:
    """Nobody knows the power between readings more than two seconds apart."""
    line = timeline(read(0, watts=100), read(5000, watts=100), read(6000, watts=100))

    assert line.totals[-1] == 100 * MICRO
    assert line.gap == 5000 * MICRO


def test_late_and_repeated_readings_change_nothing() -> None:
    """A reading that is not newer than the newest is counted and dropped."""
    line = timeline(read(0, 0), read(100, 10), read(50, 5), read(100, 10))

    assert line.rejected["late"] == 2
    assert line.totals[-1] == 10 * MICRO


def test_a_counter_that_stood_still_starts_from_there() -> None:
    """Energy that came after a long standstill is not spread over it."""
    line = timeline(*(read(t, 0) for t in range(0, 3001, 100)), read(3100, 10))

    assert line.energy(2900 * MICRO) == 0


@st.composite
def polls(draw: st.DrawFn) -> list[EnergySample]:
    t, found = 0, []
    for _ in range(draw(st.integers(2, 40))):
        t += draw(st.integers(1, 900))
        found.append(read(t, draw(st.integers(0, 500))))
    return found


@given(polls(), st.data())
def test_cuts_telescope_to_the_sum_over_epochs(samples: list[EnergySample], data: Any) -> None:
    """Wherever windows are cut, their energies add up to the counter's rise in each epoch."""
    line, total, cursor = Timeline(FREE), 0, 0
    cuts = sorted(data.draw(st.lists(st.integers(0, samples[-1].t), max_size=10)))
    for sample in samples:
        line.add(sample)
        while cuts and cuts[0] <= (line.settled_until() or 0):
            cut = cuts.pop(0)
            if cut > cursor:
                total += line.energy(cut) - line.energy(cursor)
                line.cut(cut)
                cursor = cut
    total += line.energy(samples[-1].t + 1) - line.energy(cursor)

    rises = [(b.counter or 0) - (a.counter or 0) for a, b in pairwise(samples)]
    assert total == sum(rise for rise in rises if rise > 0)


def test_energy_that_comes_to_light_after_a_cut_counts_after_it() -> None:
    """A device whose first readings arrive late loses nothing: windows that are closed stay as they are."""
    line = timeline()
    line.cut(1000 * MICRO)
    for sample in (read(0, 100), read(50, 110), read(100, 120)):
        line.add(sample)

    assert line.energy(1000 * MICRO) == 0
    assert (line.known_until() or 0) > 1000 * MICRO
    assert line.energy(2000 * MICRO) == 20 * MICRO
