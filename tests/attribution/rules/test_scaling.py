"""What the counter says beyond the requests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.attribution.rules.scaling import (
    AROUND_WINDOWS,
    FOREIGN_SCALE,
    FOREIGN_WINDOWS,
    _beside,
    _evened,
    _surplus,
)


def test_a_strangers_energy_lies_where_the_counter_shows_it() -> None:
    """A report of three windows says half, and the counter says which half."""
    alien = np.array([0, 0, 0, 150, 150, 150, 300, 300, 300, 300, 300, 300.0])
    measured = np.array([100, 100, 100, 100, 250, 400, 400, 400, 400, 400, 400, 400.0])

    foreign = _beside(measured, np.full(12, 100.0), alien)

    assert foreign == pytest.approx(measured - 100, abs=15)


def test_no_more_is_taken_than_was_told_of() -> None:
    """Where the model is too low all the time, strangers do not get what it misses."""
    modelled, alien = np.full(30, 100.0), np.full(30, 10.0)

    foreign = _beside(np.full(30, 220.0), modelled, alien)

    assert foreign == pytest.approx(np.full(30, 20.0), rel=0.01)


@given(
    st.lists(
        st.tuples(st.floats(0, 1e3), st.floats(0, 1e3), st.floats(0, 1e3)),
        min_size=1,
        max_size=3 * AROUND_WINDOWS,
    )
)
def test_strangers_never_get_more_than_there_is(windows: list[tuple[float, float, float]]) -> None:
    """And nothing where nobody told of one."""
    measured, modelled, alien = np.array(windows).T

    foreign = _beside(measured, modelled, alien)

    assert ((foreign >= 0) & (foreign <= measured + 1e-9)).all()
    assert not foreign[alien == 0].any()


def test_only_a_lasting_surplus_is_a_strangers() -> None:
    """Noise of single windows is the requests'."""
    modelled = np.full(40, 100.0)
    noisy, lasting = modelled.copy(), modelled.copy()
    noisy[::3] = 300.0
    lasting[10:30] = 300.0

    assert not _surplus(noisy, modelled).any()
    assert _surplus(lasting, modelled)[10:30] == pytest.approx(np.full(20, 300 - 100 * FOREIGN_SCALE))
    assert not _surplus(lasting[: 10 + FOREIGN_WINDOWS - 1], modelled[: 10 + FOREIGN_WINDOWS - 1]).any()


def test_an_edge_that_is_off_moves_idle_energy_and_not_that_of_short_requests() -> None:
    """What one window has too much, the next has too little."""
    modelled, idle = np.full(20, 30.0), np.full(20, 20.0)
    energy = 50 + 8.0 * (-1) ** np.arange(20)

    evened = _evened(energy, idle, modelled, modelled)

    assert energy - evened == pytest.approx(np.full(20, 30.0), abs=2.5)
    assert _evened(energy, idle, modelled, 0 * modelled) == pytest.approx(idle), (
        "long ones fill their windows"
    )


@given(
    st.lists(
        st.tuples(st.floats(0, 1e3), st.floats(0, 1), st.floats(0, 1e3), st.floats(0, 1)),
        min_size=1, max_size=3 * AROUND_WINDOWS,
    )
)  # fmt: skip
def test_idle_energy_stays_within_the_window(windows: list[tuple[float, float, float, float]]) -> None:
    """Whatever is moved, no account is negative."""
    energy, idle, modelled, part = np.array(windows).T

    found = _evened(energy, idle * energy, modelled, part * modelled)

    assert ((found >= -1e-9) & (found <= energy + 1e-9)).all()
