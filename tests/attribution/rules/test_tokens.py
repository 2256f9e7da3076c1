"""The rule ``tokens``."""

from typing import Any

import pytest

from joulegate.model import DeviceId, UpstreamSetup

GPU = (DeviceId("gpu0"),)


def test_two_upstreams_get_equal_parts_of_a_cell_first(bench: Any, make: Any) -> None:
    """Tokens and megapixels have no common unit."""
    one = bench("tokens", llm=UpstreamSetup("llm", GPU), img=UpstreamSetup("image", GPU))
    one.feed([make.reading(i / 10, 300 * i / 10) for i in range(200)])
    one.feed(
        [make.opened("text", 2.0, stream=True), make.chunks("text", [2.0 + i / 100 for i in range(1, 1000)])]
    )
    one.feed([make.closed("text", 12.0, 10, 999)])
    one.feed([make.opened("image", 2.0, "img", width=512, height=512, steps=50), make.closed("image", 12.0)])
    run = one.drain(60)

    assert run.settled["text"].energy == pytest.approx(run.settled["image"].energy, rel=0.02)


def test_unknown_work_is_shared_by_time(bench: Any, make: Any) -> None:
    """Requests of which nothing is known still pay for their presence."""
    one = bench("tokens")
    one.feed([make.reading(i / 10, 100 * i / 10) for i in range(200)])
    one.feed([make.opened("a", 2.0), make.closed("a", 6.0)])

    assert one.drain(60).settled["a"].energy > 350_000_000
