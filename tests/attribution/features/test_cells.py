"""Cells of time and the work in them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from joulegate.attribution.features.cells import MAX_CELLS, Cells, ImageTrack, TextTrack, ratio
from joulegate.attribution.features.images import PlacedImage
from joulegate.attribution.features.placed_work import Curves, PlacedWork, joined
from joulegate.attribution.features.step_clock import StepClock, Streams
from joulegate.attribution.input.request import RequestInput


def text(
    make: Any, start: float, prefilled: float, end: float, prompt: float = 100, out: float = 50, many: int = 1
) -> PlacedWork:
    """Requests with a curve of their own: they stream."""
    placed = ridden(make, start, prefilled, end, prompt, out, many)
    times, done = np.tile([prefilled, end], many), np.tile([0.0, out], many)
    return replace(placed, curves=Curves(times, done, done, np.full(many, 2)))


def ridden(
    make: Any, start: float, prefilled: float, end: float, prompt: float = 100, out: float = 50, many: int = 1
) -> PlacedWork:
    """Requests that the engine's clock tells of."""
    spans = [RequestInput(make.opened("a", start), 0, 0) for _ in range(many)]
    placed: PlacedWork = make.placed(
        *spans, start=start, prefilled=prefilled, end=end, prompt=prompt, context=prompt, out=out, steps=out
    )
    return placed


def test_no_cell_belongs_to_two_windows() -> None:
    """Cells nest in windows, whatever the windows' lengths."""
    cells = Cells([0.0, 0.333, 1.0, 1.001])

    assert set(np.round(cells.bounds, 6)) <= set(np.round(cells.edges, 6))
    assert cells.sum_by_window(cells.width) == pytest.approx([0.333, 0.667, 0.001])


def test_a_window_of_hours_has_wide_cells() -> None:
    """A lost device must not eat the memory."""
    assert len(Cells([0.0, 1e6])) == MAX_CELLS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.floats(-1, 4),
    prefill=st.floats(0, 2),
    decode=st.floats(0.01, 3),
    prompt=st.floats(1, 5000),
    out=st.floats(1, 500),
)
def test_work_within_the_windows_is_neither_lost_nor_doubled(
    make: Any, start: float, prefill: float, decode: float, prompt: float, out: float
) -> None:
    """Over windows that cover it wholly, a request's cells hold its whole work; the first token is given."""
    cells = Cells([-2.0, 0.3, 1.1, 4.0, 12.0])
    for found, tokens in ((text, out), (ridden, out - 1)):
        one = found(make, start, start + prefill, start + prefill + decode, prompt, out)
        track = TextTrack(cells, one)

        assert track.columns["pf"].sum() == pytest.approx(prompt, rel=1e-6)
        assert track.columns["tok"].sum() == pytest.approx(tokens, rel=1e-6, abs=1e-6)
        assert track.part.sum() == pytest.approx(out + 1, rel=1e-6)
        assert track.present.sum() == pytest.approx((one.finish - one.start).sum(), rel=1e-6)


def test_who_has_a_curve_and_who_has_none_stand_side_by_side(make: Any) -> None:
    """Each pair is read from its own request's curve, or from the clock."""
    cells = Cells([0.0, 3.0])
    both = joined([text(make, 0.5, 0.6, 2.5, out=10), ridden(make, 1.0, 1.1, 2.0, out=31)])
    track = TextTrack(cells, both)
    tokens = np.bincount(track.request, weights=track.columns["tok"])

    assert tokens == pytest.approx([10.0, 30.0])


def test_decoding_follows_the_clock_and_not_the_time(make: Any) -> None:
    """An engine that was twice as fast in the second half made twice the tokens there."""
    one = ridden(make, 0.9, 1.0, 3.0, out=301)
    ticks = [1.0 + 0.02 * place for place in range(51)] + [2.0 + 0.01 * place for place in range(1, 101)]
    clock = StepClock(
        Streams(np.array(ticks), np.array([len(ticks)]), np.array([151.0]), np.array([0])), 0.0, 4.0, None
    )
    track = TextTrack(Cells([0.0, 2.0, 4.0]), replace(one, clock=clock))
    tokens = track.cells.sum_by_window(track.per_cell(track.columns["tok"]))

    assert tokens == pytest.approx([100.0, 200.0], rel=0.03)


def test_a_step_is_counted_once_however_many_share_it(make: Any) -> None:
    """Two sequences in one engine make its steps together."""
    cells = Cells([0.0, 3.0])
    alone = TextTrack(cells, text(make, 0.5, 0.51, 2.5)).steps().sum()
    both = TextTrack(cells, text(make, 0.5, 0.51, 2.5, many=2)).steps().sum()

    assert alone == pytest.approx(51, rel=0.02)
    assert both == pytest.approx(alone, rel=0.02)


def test_parts_of_a_step_add_up_to_one(make: Any) -> None:
    """Where somebody takes part, the parts are shares."""
    track = TextTrack(Cells([0.0, 3.0]), joined([text(make, 0.5, 0.6, 2.5), ridden(make, 1.0, 1.1, 2.0)]))
    total = track.per_cell(track.part_share())

    assert np.all((np.abs(total - 1) < 1e-9) | (total == 0))


def test_a_larger_batch_is_more_images(make: Any) -> None:
    """Megapixel-steps count every image."""
    span = RequestInput(make.opened("a", 0.0, "img"), 0, 0)
    track = ImageTrack(Cells([0.0, 5.0]), [PlacedImage(span, 1.0, 3.0, 0.25, 20.0, 4.0)])

    assert track.work.sum() == pytest.approx(20.0)
    assert track.columns["mps2"].sum() == pytest.approx(5.0)


def test_nobody_there_is_no_work(make: Any) -> None:
    """A track may be empty."""
    assert TextTrack(Cells([0.0, 1.0]), make.placed()).steps().sum() == 0


def test_a_part_of_nothing_is_nothing() -> None:
    """No division by zero."""
    assert ratio(np.array([1.0, 2.0]), np.array([0.0, 4.0])).tolist() == [0.0, 0.5]
