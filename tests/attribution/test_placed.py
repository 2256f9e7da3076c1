"""The work of one text request."""

from typing import Any

import numpy as np
import pytest

from joulegate.attribution.placed import Placed
from joulegate.attribution.spans import Span


@pytest.mark.parametrize(
    ("prefilled", "end", "finish"), [(1.5, 3.0, 3.0), (1.5, 1.2, 1.5), (1.0, 1.0, 1.002)]
)
def test_presence_ends_with_the_last_work(make: Any, prefilled: float, end: float, finish: float) -> None:
    """It covers the prefill and is never shorter than two milliseconds."""
    one = Placed(
        span=Span(make.opened("a", 1.0), 0, 0),
        start=1.0,
        prefilled=prefilled,
        end=end,
        prompt=1,
        context=1,
        prefill_steps=1,
        times=np.array([prefilled]),
        tokens=np.array([0.0]),
        steps=np.array([0.0]),
        guessed=False,
        doubtful=False,
        hidden_cache=False,
    )

    assert one.finish == pytest.approx(finish)
