"""Cutting time into windows."""

from itertools import pairwise
from typing import Any

from joulegate.attribution.input.timeline import Timeline
from joulegate.attribution.input.windows import Cutter
from joulegate.model import EnergySample
from joulegate.units import MICRO, NANO, Microwatts


def lines(make: Any, count: int) -> list[Timeline]:
    return [Timeline(make.device(index)) for index in range(count)]


def test_windows_begin_and_end_at_edges_and_leave_no_hole(make: Any) -> None:
    """Windows are at least 0.3 s long and follow one another."""
    line = lines(make, 1)[0]
    for i in range(50):
        line.add(make.reading(i / 10, i * 10.0))
    windows = Cutter([line]).closed(5 * NANO)

    assert all(window.end - window.start >= 3 * NANO // 10 for window in windows)
    assert all(a.end == b.start for a, b in pairwise(windows))
    assert sum(window.total for window in windows) == line.energy(windows[-1].end)
    assert all(len(window.inner) >= 2 for window in windows)


def test_a_slow_device_is_waited_for(make: Any) -> None:
    """No window closes before every living counter has passed it."""
    fast, slow = lines(make, 2)
    for i in range(50):
        fast.add(make.reading(i / 10, i * 10.0))
    slow.add(make.reading(0.0, 0.0, 1))
    slow.add(make.reading(1.0, 50.0, 1))
    cutter = Cutter([fast, slow])

    assert cutter.closed(5 * NANO)[-1].end <= NANO
    slow.add(make.reading(4.9, 250.0, 1))
    assert cutter.closed(5 * NANO)[-1].end > 4 * NANO


def test_energy_of_a_device_that_comes_to_light_late_is_counted(make: Any) -> None:
    """Its first readings are older than the beginning of the windows that did not wait for it any longer."""
    early, late = lines(make, 2)
    early.add(make.reading(1.0, 0.0))
    cutter = Cutter([early, late])
    assert cutter.closed(60 * NANO) == []
    late.add(make.reading(0.5, 0.0, 1))
    late.add(make.reading(0.9, 7.0, 1))
    for i in range(20):
        early.add(make.reading(1.1 + i / 10, 1.0 + i))
        late.add(make.reading(1.1 + i / 10, 7.0 + i, 1))
    windows = [*cutter.closed(60 * NANO), *cutter.rest()]
    assert sum(window.energy[late.device.id] for window in windows) == (7 + 19) * MICRO


def test_a_restart_is_a_bound(make: Any) -> None:
    """No window runs across a gap; the gap is one by itself."""
    line = lines(make, 1)[0]
    for i in range(20):
        line.add(make.reading(i / 10, 900 + i))
    for i in range(20):
        line.add(make.reading(4 + i / 10, float(i)))
    windows = Cutter([line]).closed(6 * NANO)

    dark = [window for window in windows if window.gaps[make.device().id]]
    assert sum(window.total for window in dark) == 0
    assert sum(window.gaps[make.device().id] for window in dark) == 2.1 * NANO


def test_power_readings_make_long_windows(make: Any) -> None:
    """Means over a second say nothing about a third of it."""
    line = lines(make, 1)[0]
    for i in range(50):
        line.add(EnergySample(make.device().id, make.ns(i / 10), power=Microwatts(100 * MICRO)))
    windows = Cutter([line]).closed(5 * NANO)

    assert all(window.end - window.start >= NANO for window in windows)
