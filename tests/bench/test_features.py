"""What was done and what was drawn, in the same windows."""

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

SECOND = 10**9


def sample(t: float, joules: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"t": round(t * SECOND)}
    return row | ({"error": "x"} if joules is None else {"energy_mj": round(joules * 1000)})


def test_a_move_lies_between_two_polls(gpu: ModuleType) -> None:
    """Half-way, unless the poll before is long ago; errors and standing still are no moves."""
    rows = [sample(0, 5), sample(0.1, 5), sample(0.2, None), sample(0.3, 7), sample(2, 9), sample(2.1, 1)]
    times, energies = gpu.features.moves(rows)
    assert list(times) == [0.2 * SECOND, 1.97 * SECOND]
    assert list(energies) == [7, 9]


def test_work_is_straight_within_a_step(gpu: ModuleType) -> None:
    """A window that ends in a step has its part; two engines add up, and count once as active."""
    steps = [
        {"t": [0, 100], "step": 1, "tok": 8},
        {"t": [50, 150], "istep": 1, "mps": 2},
        {"t": [200, 300], "step": 1, "tok": 4},
    ]
    found = gpu.features.span(steps, 50, 250)
    columns = dict(zip(gpu.records.COLUMNS, found.work[0], strict=True))
    assert columns == {"step": 1, "tok": 6, "kv": 0, "pf": 0, "pfx": 0, "istep": 1, "mps": 2, "mps2": 0}
    assert found.active[0] == pytest.approx(150e-9)


@given(cuts=st.lists(st.integers(0, 1000), min_size=2, max_size=10, unique=True))
def test_no_work_is_lost_between_windows(gpu: ModuleType, cuts: list[int]) -> None:
    """Whatever the cuts, the parts are the whole."""
    steps = [{"t": [t, t + 70], "step": 1, "tok": t} for t in range(100, 900, 80)]
    cuts = sorted(cuts)
    parts = [gpu.features.span(steps, *pair) for pair in pairwise(cuts)]
    whole = gpu.features.span(steps, cuts[0], cuts[-1])
    assert sum(part.work for part in parts) == pytest.approx(whole.work)
    assert sum(part.active[0] for part in parts) == pytest.approx(whole.active[0])


def test_energy_outside_the_readings_is_unknown(gpu: ModuleType) -> None:
    """Absent, not zero and not a guess."""
    rows = [sample(t / 10, t * 10) for t in range(20)]
    between = gpu.features.energy_between
    assert between(rows, SECOND // 2, SECOND) == pytest.approx(50)
    assert between(rows, 0, SECOND) is None
    assert between(rows, SECOND, 3 * SECOND) is None


@given(
    truth=st.lists(st.sampled_from([0.0, 0.5, 2.0, 30.0]), min_size=4, max_size=4),
    seed=st.integers(0, 1000),
)
def test_costs_that_are_not_negative_are_found_exactly(
    gpu: ModuleType, truth: list[float], seed: int
) -> None:
    """Also where some are nothing."""
    a = np.random.default_rng(seed).uniform(0, 1, (30, 4)) * [1, 1000, 1e6, 1]
    assert gpu.fit.nonnegative(a, a @ truth) == pytest.approx(truth, rel=1e-5, abs=1e-6)


def test_costs_are_never_negative(gpu: ModuleType) -> None:
    """Data that ask for a negative cost get none instead."""
    a = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    assert list(gpu.fit.nonnegative(a, np.array([3.0, 2.0, 1.0]))) == pytest.approx([2.0, 0.0])


@given(
    spans=st.dictionaries(st.text(max_size=2), st.tuples(st.integers(0, 99), st.integers(1, 99)), max_size=8)
)
def test_static_power_is_shared_whole(gpu: ModuleType, spans: dict[str, tuple[int, int]]) -> None:
    """All shares together are the power over the time in which anybody was there."""
    present = {name: [begun, begun + length] for name, (begun, length) in spans.items()}
    shared = gpu.truth.shared(present, 1e9)
    instants = {t for begun, ended in present.values() for t in range(begun, ended)}
    assert sum(shared.values()) == pytest.approx(len(instants))
    for name, (begun, ended) in present.items():
        assert shared[name] <= ended - begun + 1e-9
