"""The columns of the energy model."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.attribution.features.columns import (
    MOST_LEANING,
    TAIL_NAMES,
    columns,
    leaning,
    shape,
    tail_prior,
    unit,
)
from joulegate.attribution.features.counter_lag import CounterLag
from joulegate.attribution.features.feature_builder import FeatureBuilder
from joulegate.attribution.features.window_features import DeviceState
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.windows import Window
from joulegate.model import DeviceId, UpstreamSetup
from joulegate.units import NANO

GPU = DeviceId("gpu0")


def matrix(make: Any) -> Any:
    one = RequestInput(make.opened("a", 1.0, stream=True), 0, 0)
    one.take(make.chunks("a", [1.1 + i / 100 for i in range(100)]))
    one.take(make.closed("a", 2.1, 400, 100))
    windows = [Window(i * NANO, (i + 1) * NANO, {GPU: 10**8}, {}) for i in range(6)]
    builder = FeatureBuilder(0, {"llm": UpstreamSetup("llm", (GPU,))}, queue_pays=False)
    return columns(builder.build(windows, [one], 20 * NANO, DeviceState(1, 70.0), CounterLag(0.0)))


def test_windows_are_the_sums_of_their_claims_and_cells(make: Any) -> None:
    """Whatever is fitted to windows is what is charged to requests."""
    found = matrix(make)

    assert found.claims.value[:, :-1].sum(axis=0) == pytest.approx(found.windows.sum(axis=0))
    assert found.cells.sum(axis=0) == pytest.approx(found.windows.sum(axis=0))
    assert found.claims.value[:, -1].sum() == pytest.approx(found.active.sum())


def test_work_is_counted_in_its_own_units(make: Any) -> None:
    """Tokens, steps, prefilled tokens."""
    found = matrix(make)
    total = dict(zip(found.names, found.windows.sum(axis=0), strict=True))

    assert total["llm/llm:tok"] == pytest.approx(99, abs=1)
    assert total["llm/llm:step"] == pytest.approx(100, abs=2)
    assert total["llm/llm:pf"] == pytest.approx(400)


def test_tails_begin_when_the_last_one_has_left(make: Any) -> None:
    """Idle time is sorted by how long ago somebody was there; before the first there is no tail."""
    found = matrix(make)

    assert found.tails[0].sum() == 0
    assert found.tails.sum() == pytest.approx(2.0, abs=0.05)
    assert len(TAIL_NAMES) == found.tails.shape[1]


def test_every_column_has_a_shape_and_a_first_cost() -> None:
    """Start-up figures need a cost of everything."""
    for name in ("llm/llm:step", "llm/llm:kv", "img/image:mps", "img/image:step"):
        assert shape(name) > 0
        assert unit(name) > 0
    assert np.all(tail_prior(70.0) >= 0)


@given(st.lists(st.floats(0, 1e3), min_size=6, max_size=6))
def test_context_costs_no_more_than_it_can(parts: list[float]) -> None:
    """Whatever is fitted, a cached token is a small part of a step, and other columns are free."""
    names = ["llm/llm:kv", "llm/llm:step", "llm/llm:tok", "small/llm:kv", "small/llm:step", ":tail0"]
    cost = dict(zip(names, leaning(names) @ np.array(parts), strict=True))

    for track in ("llm/llm", "small/llm"):
        most = MOST_LEANING * shape("llm/llm:kv") / shape("llm/llm:step")
        assert cost[f"{track}:kv"] <= most * cost[f"{track}:step"] + 1e-9
    assert (cost["llm/llm:tok"], cost[":tail0"]) == (parts[2], parts[5])


def test_every_possible_cost_can_be_fitted() -> None:
    """The usual costs, none and the most of context lie within."""
    names = ["llm/llm:kv", "llm/llm:step"]
    for times in (0.0, 1.0, MOST_LEANING):
        wanted = np.array([times * shape(names[0]), shape(names[1])])
        assert (np.linalg.solve(leaning(names), wanted) >= -1e-12).all()
