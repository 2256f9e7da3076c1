"""The rules ``overlap`` and ``overlap-service``."""

from typing import Any

import pytest

from joulegate.model import DeviceId, UpstreamSetup


@pytest.mark.parametrize(("method", "ratio"), [("overlap", 3.0), ("overlap-service", 1.0)])
def test_only_one_of_them_bills_the_queue(bench: Any, make: Any, method: str, ratio: float) -> None:
    """Two equal images in a queue of one: by overlap the second pays for having waited."""
    one = bench(method, img=UpstreamSetup("image", (DeviceId("gpu0"),)))
    one.feed([make.reading(i / 10, 400 * i / 10) for i in range(200)])
    for key, end in (("first", 6.0), ("second", 11.0)):
        one.feed([make.opened(key, 1.0, "img", width=512, height=512, steps=20), make.closed(key, end)])
    run = one.drain(60)

    assert run.settled["second"].energy / run.settled["first"].energy == pytest.approx(ratio, rel=0.05)


def test_equal_parts_whatever_they_do(bench: Any, make: Any) -> None:
    """A thousand tokens and ten cost the same over the same time: that is its fault."""
    one = bench("overlap")
    one.feed([make.reading(i / 10, 400 * i / 10) for i in range(200)])
    for key, tokens in (("few", 10), ("many", 1000)):
        one.feed([make.opened(key, 2.0), make.closed(key, 12.0, 10, tokens)])
    run = one.drain(60)

    assert run.settled["few"].energy == pytest.approx(run.settled["many"].energy, rel=1e-6)
