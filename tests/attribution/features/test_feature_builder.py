"""From spans and windows to a scene."""

from typing import Any

import numpy as np
import pytest

from joulegate.attribution.features.feature_builder import FINE, FeatureBuilder
from joulegate.attribution.input.request import AttributedSpan
from joulegate.attribution.input.windows import Window
from joulegate.model import DeviceId, UpstreamSetup
from joulegate.units import NANO

GPU = DeviceId("gpu0")


def windows(count: int = 10) -> list[Window]:
    return [
        Window(i * NANO, (i + 1) * NANO, {GPU: 10**8}, {}, [(i * NANO + NANO // 2, 2 * 10**7)])
        for i in range(count)
    ]


def observer(**upstreams: UpstreamSetup) -> FeatureBuilder:
    return FeatureBuilder(0, upstreams or {"llm": UpstreamSetup("llm", (GPU,))}, 1, queue_pays=False)


def ended(
    make: Any, key: str, start: float, end: float, out: int = 50, upstream: str = "llm"
) -> AttributedSpan:
    one = AttributedSpan(make.opened(key, start, upstream), 0, 0)
    one.take(make.closed(key, end, 100, out))
    return one


def test_cells_show_the_past_of_a_lagging_counter(make: Any) -> None:
    """What a counter shows was drawn a little earlier."""
    watch = observer()
    watch.lag = 0.1

    assert watch.scene(windows(), [], 20 * NANO, 70.0).cells.bounds[0] == pytest.approx(-0.1)


def test_energy_follows_the_edges_within_a_window(make: Any) -> None:
    """A fifth of the energy came in the first half of each window."""
    scene = observer().scene(windows(), [], 20 * NANO, 70.0)
    first = scene.cell_energy()[:50]

    assert first.sum() == pytest.approx(20.0, rel=0.01)
    assert scene.cells.sum_by_window(scene.cell_energy()) == pytest.approx(scene.energy)


def test_kinds_of_one_upstream_are_apart(make: Any) -> None:
    """A server that writes and draws has a track for each."""
    watch = observer(any=UpstreamSetup("auto", (GPU,)))
    drawn = AttributedSpan(make.opened("b", 1.0, "any", width=512, height=512, steps=4), 0, 1)
    scene = watch.scene(windows(), [ended(make, "a", 1.0, 2.0, upstream="any"), drawn], 20 * NANO, 70.0)

    assert sorted(scene.tracks) == ["any/image", "any/llm"]


def test_brief_work_gets_fine_cells(make: Any) -> None:
    """Where most requests take some milliseconds, so do cells."""
    spans = [ended(make, str(i), 1.0 + i / 10, 1.01 + i / 10, out=0) for i in range(5)]

    assert observer().scene(windows(), spans, 20 * NANO, 70.0).cells.width[0] == pytest.approx(FINE)


def test_who_is_far_away_is_left_out(make: Any) -> None:
    """A look at a short stretch does not place the requests of an hour."""
    watch = observer()
    near, far = ended(make, "near", 5.0, 6.0), ended(make, "far", 0.1, 0.5)
    scene = watch.scene(windows()[4:], [near, far], 20 * NANO, 70.0)

    assert [span.id for span in scene.spans] == ["near"]


def test_impossible_usage_is_counted(make: Any) -> None:
    """Lies are shown in the health of the device."""
    watch = observer()
    watch.ended(ended(make, "a", 1.0, 2.0, out=10**18))

    assert watch.lies == 1


def test_edges_add_up(make: Any) -> None:
    """The edges of a scene are cumulative over its windows."""
    scene = observer().scene(windows(3), [], 20 * NANO, 70.0)

    assert scene.edges[1][-1] == pytest.approx(300.0)
    assert (np.diff(scene.edges[0]) >= 0).all()
