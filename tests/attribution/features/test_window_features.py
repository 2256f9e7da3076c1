"""Claims by window and request."""

from typing import Any

import numpy as np
import pytest

from joulegate.attribution.features.cells import Cells, ImageTrack
from joulegate.attribution.features.counter_lag import CounterLag
from joulegate.attribution.features.images import PlacedImage
from joulegate.attribution.features.window_features import Claims, DeviceState, WindowFeatures, WindowReadings
from joulegate.attribution.input.request import RequestInput
from joulegate.units import Nanoseconds


def features(make: Any) -> WindowFeatures:
    spans = [RequestInput(make.opened(key, 0.0), 0, place) for place, key in enumerate("ab")]
    cells = Cells([0.0, 1.0, 2.0, 3.0])
    placed = [PlacedImage(spans[0], 0.5, 1.5, 1, 1, 1), PlacedImage(spans[1], 1.2, 2.5, 1, 1, 1)]
    edges = np.array([[0.0, 1.0, 2.0, 3.0], [0.0, 10.0, 20.0, 30.0]])
    return WindowFeatures(
        cells,
        {"img/image": ImageTrack(cells, placed)},
        WindowReadings([Nanoseconds(i) for i in range(3)], np.full(3, 10.0), edges),
        DeviceState(1, 70.0),
        CounterLag(),
    )


def test_gathering_keeps_the_sum(make: Any) -> None:
    """Values of pairs are added by window and request, none is lost."""
    one = features(make)
    track = one.tracks["img/image"]
    claims = one.gather("img/image", track, track.present)

    assert claims.value.sum() == pytest.approx(track.present.sum())
    assert list(zip(claims.window, claims.request, strict=True)) == [(0, 0), (1, 0), (1, 1), (2, 1)]
    assert claims.total(3) == pytest.approx([0.5, 1.3, 0.5])


def test_active_time_counts_company_once(make: Any) -> None:
    """Two requests at once do not make the device twice as busy."""
    assert features(make).active().sum() == pytest.approx(2.0)


def test_no_claims_are_no_error() -> None:
    """A stretch without requests has claims of length 0."""
    assert Claims.none((3,)).value.shape == (0, 3)
    assert Claims.join([]).total(2).tolist() == [0.0, 0.0]
