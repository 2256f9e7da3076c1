"""Fitting non-negative coefficients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.attribution.maths.fit import bend, fit, nonnegative, scales, trust

RNG = np.random.default_rng(3)


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_the_solution_is_optimal(count: int, seed: int) -> None:
    """Karush-Kuhn-Tucker: no coefficient below 0, no slope that could still be followed."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(20, count))
    energy = rng.normal(size=20)
    gram, target = features.T @ features, features.T @ energy
    x = nonnegative(gram, target)
    slope = target - gram @ x

    assert (x >= 0).all()
    assert slope.max() <= 1e-5 * max(np.abs(target).max(), 1)
    assert np.abs(slope[x > 1e-9]).max(initial=0) <= 1e-5 * max(np.abs(target).max(), 1)


def test_a_column_of_nothing_costs_nothing() -> None:
    """A feature that never occurred has no cost and does not break the solution."""
    assert nonnegative(np.diag([0.0, 2.0]), np.array([0.0, 4.0])) == pytest.approx([0.0, 2.0])


def test_coefficients_are_found_in_spite_of_strangers() -> None:
    """Rows with somebody else's energy on top lose their weight."""
    features = RNG.uniform(0, 100, (200, 2))
    energy = features @ np.array([2.0, 0.05]) + RNG.normal(0, 1, 200)
    energy[::8] += 400
    found = fit(features, energy, np.array([1.0, 0.1]), np.ones(200))

    assert found.x == pytest.approx([2.0, 0.05], abs=0.04)
    assert found.without.shape == (6, 2)


def test_missing_energy_weighs_more_than_extra() -> None:
    """A stranger can add energy, nobody can take it away."""
    residuals = np.array([1.0, -1.0, 1.0, -1.0, 100.0, -100.0])
    weights = bend(residuals)

    assert weights[0] == weights[1] == 1
    assert weights[4] < weights[5] < 1


def test_what_the_data_do_not_show_stays_at_the_prior() -> None:
    """Two columns that always move together keep the prior's proportion."""
    column = RNG.uniform(1, 100, 100)
    features = np.column_stack([column, column])
    found = fit(features, 4 * column, np.array([3.0, 1.0]), np.ones(100))

    assert found.x == pytest.approx([3.0, 1.0], rel=0.02)


def test_doubtful_rows_count_less_unless_all_are() -> None:
    """Guessed prefills lower a row's trust; with too little clean data they have to do."""
    doubt = np.zeros(100)
    doubt[:10] = 5000
    weights = trust(doubt, np.full(100, 1000.0))

    assert weights[0] < 0.05
    assert weights[50] == 1
    assert trust(np.full(20, 5000.0), np.full(20, 1000.0)).min() == pytest.approx(0.3)


def test_scales_are_not_negative() -> None:
    """A shape that does not help has scale 0."""
    shapes = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])

    assert scales(shapes, np.array([1.0, 2.0, -1.0])).min() >= 0


def test_a_fit_in_a_cone_stays_there() -> None:
    """Of two columns that move together the second is at most a tenth of the first, whatever the data say."""
    first = RNG.uniform(5, 10, 100)
    features = np.column_stack([first, 20 * first * RNG.normal(1, 0.3, 100)])
    energy = features @ np.array([1.0, 2.0])
    cone = np.array([[1.0, 1.0], [0.0, 0.1]])
    prior = np.array([1.0, 0.01])
    found, free = (fit(features, energy, prior, np.ones(100), matrix) for matrix in (cone, None))

    assert free.x[1] > 0.1 * free.x[0]
    assert found.x[1] <= 0.1 * found.x[0] + 1e-9
    assert (found.without[:, 1] <= 0.1 * found.without[:, 0] + 1e-9).all()
