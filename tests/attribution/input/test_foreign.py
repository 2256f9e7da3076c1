"""What reports on processes say of windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.attribution.input.foreign import REPORT_REACH_S, ForeignLoad, Load
from joulegate.model import DeviceId, DeviceLoad
from joulegate.units import NANO, Nanoseconds

GPU, OTHER = DeviceId("gpu0"), DeviceId("gpu1")
ORIGIN = 7 * NANO


def report(since: float, t: float, own: int, foreign: int) -> DeviceLoad:
    times = (Nanoseconds(ORIGIN + round(at * NANO)) for at in (since, t))
    return DeviceLoad(GPU, *times, own, foreign)


def over(bounds: list[float], *reports: DeviceLoad) -> Load:
    strangers = ForeignLoad()
    for one in reports:
        strangers.add(one)
    return strangers.over([GPU], np.array(bounds), ORIGIN)


def test_a_window_has_the_mean_of_the_reports_on_its_time() -> None:
    """Reports and windows need not begin together."""
    load = over([0.5, 1.5, 2.0], report(0, 1, 20, 80), report(1, 2, 60, 0))
    assert load.own == pytest.approx([0.4, 0.6])
    assert load.foreign == pytest.approx([0.4, 0.0])


def test_a_missing_report_is_bridged_and_a_long_silence_is_not() -> None:
    """The nearest report holds for a while; then nothing is known, which is as before."""
    load = over(
        [1, 2, 3, 4, 2 + 2 * REPORT_REACH_S, 2 + 2 * REPORT_REACH_S + 1],
        report(0, 1, 0, 50),
        report(2, 3, 0, 50),
    )
    assert load.foreign[:2] == pytest.approx([0.5, 0.5])
    assert load.foreign[2] == pytest.approx(0.5)
    assert load.foreign[-1] == 0


def test_nobody_told_is_no_stranger() -> None:
    """Without reports, or with those of another device, nothing is taken from requests."""
    assert not over([0, 1, 2]).taken.any()
    strangers = ForeignLoad()
    strangers.add(report(0, 1, 0, 90))
    assert not strangers.over([OTHER], np.array([0.0, 1.0]), ORIGIN).taken.any()


def test_one_stranger_on_one_of_two_devices_takes_half() -> None:
    """Windows are of the whole group."""
    strangers = ForeignLoad()
    strangers.add(report(0, 1, 0, 80))
    load = strangers.over([GPU, OTHER], np.array([0.0, 1.0]), ORIGIN)
    assert load.foreign == pytest.approx([0.4])


def test_kernels_that_overlap_share_the_time() -> None:
    """Both busy all the time: half of the device is the stranger's."""
    assert over([0, 1], report(0, 1, 100, 100)).taken == pytest.approx([0.5])
    assert over([0, 1], report(0, 1, 10, 30)).taken == pytest.approx([0.3])


times = st.lists(st.floats(0.01, 5), min_size=1, max_size=8)


@given(times, st.lists(st.integers(0, 100), min_size=8, max_size=8), st.lists(st.floats(0.05, 4), min_size=2))
def test_parts_stay_parts(gaps: list[float], shares: list[int], widths: list[float]) -> None:
    """Whatever is reported when, a window's part is between nothing and all of it."""
    ends = np.cumsum(gaps)
    reports = [
        report(float(end) - 0.01, float(end), 0, share) for end, share in zip(ends, shares, strict=False)
    ]
    load = over([0.0, *np.cumsum(widths)], *reports)
    assert (load.foreign >= -1e-9).all()
    assert (load.taken <= 1 + 1e-9).all()
