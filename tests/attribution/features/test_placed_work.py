"""The work of one text request."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from joulegate.attribution.features.placed_work import Curves, joined
from joulegate.attribution.input.request import RequestInput


@pytest.mark.parametrize(
    ("prefilled", "end", "finish"), [(1.5, 3.0, 3.0), (1.5, 1.2, 1.5), (1.0, 1.0, 1.002)]
)
def test_presence_ends_with_the_last_work(make: Any, prefilled: float, end: float, finish: float) -> None:
    """It covers the prefill and is never shorter than two milliseconds."""
    one = make.placed(RequestInput(make.opened("a", 1.0), 0, 0), start=1.0, prefilled=prefilled, end=end)

    assert one.finish == pytest.approx([finish])


def test_parts_are_joined_in_order(make: Any) -> None:
    """Columns and requests stay together, and the curves belong to the first part."""
    one = make.placed(RequestInput(make.opened("a", 1.0), 0, 0), start=1.0, prefilled=1.1, end=2.0)
    curves = Curves(np.array([1.1]), np.array([1.0]), np.array([0.0]), np.array([1]))
    one = replace(one, curves=curves)
    both = joined(
        [one, make.placed(RequestInput(make.opened("b", 3.0), 0, 1), start=3.0, prefilled=3.1, end=4.0)]
    )

    assert [span.id for span in both.requests] == ["a", "b"]
    assert both.start.tolist() == [1.0, 3.0]
    assert len(both) == 2
    assert both.curves is one.curves
