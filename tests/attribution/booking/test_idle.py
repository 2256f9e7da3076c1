"""Idle power."""

from typing import Any

import pytest

from joulegate.attribution.booking.idle import IdlePower
from joulegate.attribution.input.windows import Window
from joulegate.model import Component, Device, Tier
from joulegate.units import MICRO, NANO, Microwatts


def quiet(watts: float, device: Any) -> Window:
    return Window(0, NANO, {device: round(watts * MICRO)}, {})


def test_quiet_windows_teach_it(make: Any) -> None:
    """Four quiet windows are enough; the median of them counts."""
    device = make.device()
    idle = IdlePower([device], {})
    for watts in (80, 81, 79, 300, 80):
        idle.learn(quiet(watts, device.id), 0.0)

    assert idle.known(device.id) == pytest.approx(80 * MICRO)
    assert idle.group() == pytest.approx(80)


def test_busy_windows_do_not(make: Any) -> None:
    """Power under load is no idle power, but idle power cannot be above the least that was seen."""
    device = make.device()
    idle = IdlePower([device], {})
    for watts in (55, 60, 65, 70):
        idle.learn(quiet(watts, device.id), 1.0)

    assert idle.known(device.id) is None
    assert idle.group() == 55


def test_a_given_value_holds_until_one_is_learned(make: Any) -> None:
    """The value of an earlier run is better than none."""
    device = make.device()
    idle = IdlePower([device], {device.id: Microwatts(90 * MICRO)})

    assert idle.known(device.id) == 90 * MICRO
    for _ in range(4):
        idle.learn(quiet(50, device.id), 0.0)
    assert idle.known(device.id) == 50 * MICRO


def test_a_processor_has_no_usual_idle_power(make: Any) -> None:
    """70 W is what GPUs draw."""
    gpu = make.device()
    cpu = Device(gpu.id, 0, "cpu", "rapl", Tier.COUNTER, component=Component.CPU)

    assert IdlePower([gpu], {}).group() == 70
    assert IdlePower([cpu], {}).group() == 0
