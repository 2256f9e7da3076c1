"""From spans and windows to features."""

from typing import Any

import numpy as np
import pytest

from joulegate.attribution.features.counter_lag import CounterLag
from joulegate.attribution.features.feature_builder import FINE_CELL_S, FeatureBuilder
from joulegate.attribution.features.window_features import DeviceState
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.windows import Window
from joulegate.model import DeviceId, UpstreamSetup
from joulegate.units import NANO

GPU = DeviceId("gpu0")
DEVICES = DeviceState(1, 70.0)
NOW = 20 * NANO


def windows(count: int = 10) -> list[Window]:
    return [
        Window(i * NANO, (i + 1) * NANO, {GPU: 10**8}, {}, [(i * NANO + NANO // 2, 2 * 10**7)])
        for i in range(count)
    ]


def builder(**upstreams: UpstreamSetup) -> FeatureBuilder:
    return FeatureBuilder(0, upstreams or {"llm": UpstreamSetup("llm", (GPU,))}, queue_pays=False)


def ended(
    make: Any, key: str, start: float, end: float, out: int = 50, upstream: str = "llm"
) -> RequestInput:
    one = RequestInput(make.opened(key, start, upstream), 0, 0)
    one.take(make.closed(key, end, 100, out))
    return one


def test_cells_show_the_past_of_a_lagging_counter(make: Any) -> None:
    """What a counter shows was drawn a little earlier."""
    one = builder()

    assert one.build(windows(), [], NOW, DEVICES, CounterLag(0.1)).cells.bounds[0] == pytest.approx(-0.1)


def test_energy_follows_the_edges_within_a_window(make: Any) -> None:
    """A fifth of the energy came in the first half of each window."""
    features = builder().build(windows(), [], NOW, DEVICES, CounterLag())
    first = features.cell_energy()[:50]

    assert first.sum() == pytest.approx(20.0, rel=0.01)
    assert features.cells.sum_by_window(features.cell_energy()) == pytest.approx(features.energy)


def test_kinds_of_one_upstream_are_apart(make: Any) -> None:
    """A server that writes and draws has a track for each."""
    one = builder(any=UpstreamSetup("auto", (GPU,)))
    drawn = RequestInput(make.opened("b", 1.0, "any", width=512, height=512, steps=4), 0, 1)
    features = one.build(
        windows(), [ended(make, "a", 1.0, 2.0, upstream="any"), drawn], 20 * NANO, DEVICES, CounterLag()
    )

    assert sorted(features.tracks) == ["any/image", "any/llm"]


def test_brief_work_gets_fine_cells(make: Any) -> None:
    """Where most requests take some milliseconds, so do cells."""
    spans = [ended(make, str(i), 1.0 + i / 10, 1.01 + i / 10, out=0) for i in range(5)]

    assert builder().build(windows(), spans, NOW, DEVICES, CounterLag()).cells.width[0] == pytest.approx(
        FINE_CELL_S
    )


def test_who_is_far_away_is_left_out(make: Any) -> None:
    """A look at a short stretch does not place the requests of an hour."""
    one = builder()
    near, far = ended(make, "near", 5.0, 6.0), ended(make, "far", 0.1, 0.5)
    features = one.build(windows()[4:], [near, far], NOW, DEVICES, CounterLag())

    assert [span.id for span in features.requests] == ["near"]


def test_impossible_usage_is_counted(make: Any) -> None:
    """Lies are shown in the health of the device."""
    one = builder()
    one.ended(ended(make, "a", 1.0, 2.0, out=10**18))

    assert one.impossible_usage == 1


def test_edges_add_up(make: Any) -> None:
    """The edges are cumulative over its windows."""
    features = builder().build(windows(3), [], NOW, DEVICES, CounterLag())

    assert features.readings.edges[1][-1] == pytest.approx(300.0)
    assert (np.diff(features.readings.edges[0]) >= 0).all()
