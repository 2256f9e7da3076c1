"""When a window is booked."""

import math

import numpy as np
import pytest

from joulegate.attribution.booking.deadlines import LONGEST_WAIT, Deadlines, stretch
from joulegate.attribution.input.windows import Window
from joulegate.units import NANO

WINDOW = Window(10 * NANO, 11 * NANO, {}, {})


@pytest.mark.parametrize(
    ("ends", "learns", "due"),
    [
        ([], True, 11 + 30),
        ([], False, 11 + 1),
        ([12.0, 20.0], True, 12 + 30),
        ([12.0, 20.0], False, 20 + 1),
        ([12.0, 90.0], False, 12 + 30),
        ([12.0, math.inf], False, 12 + 30),
        ([math.inf], True, 11 + LONGEST_WAIT / NANO),
    ],
)
def test_a_window_waits_but_not_for_ever(ends: list[float], learns: bool, due: float) -> None:
    """The first that ended has waited long enough after the delay; nobody waits for who never ends."""
    terms = Deadlines(30 * NANO, NANO, 0, learns=learns)

    assert terms.due(WINDOW, np.array(ends)) == pytest.approx(due * NANO)


def test_a_stretch_has_no_holes() -> None:
    """Between the first and the last of some windows lie all others of that time."""
    windows = [Window(i * NANO, (i + 1) * NANO, {}, {}) for i in range(6)]

    assert stretch(windows, [windows[1], windows[3]]) == windows[1:4]
    assert stretch(windows, []) == []
