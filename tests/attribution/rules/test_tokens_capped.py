"""The rule ``tokens-capped``."""

from typing import Any

import pytest


def test_nobody_pays_more_than_the_cap(bench: Any, make: Any) -> None:
    """A lone request gets a quarter of the energy of its service, the rest belongs to nobody."""
    one = bench("tokens-capped")
    one.feed([make.reading(i / 10, 100 * i / 10) for i in range(200)])
    one.feed([make.opened("a", 2.0, stream=True), make.chunks("a", [2.0 + i / 100 for i in range(1, 1000)])])
    one.feed([make.closed("a", 12.0, 10, 999)])
    run = one.drain(60)
    rest = sum(part for window in run.windows for _, part in window.unattributed)

    assert run.settled["a"].energy == pytest.approx(250_000_000, rel=0.02)
    assert rest == pytest.approx(750_000_000, rel=0.02)
    assert all(window.error() == 0 for window in run.windows)
