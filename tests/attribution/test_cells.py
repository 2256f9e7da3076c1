"""Cells of time and the work in them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulegate.attribution.cells import MOST, Cells, ImageTrack, TextTrack, ratio
from joulegate.attribution.images import PlacedImage
from joulegate.attribution.placed import Placed
from joulegate.attribution.spans import Span


def text(
    make: Any, start: float, prefilled: float, end: float, prompt: float = 100, out: float = 50
) -> Placed:
    return Placed(
        span=Span(make.opened("a", start), 0, 0),
        start=start,
        prefilled=prefilled,
        end=end,
        prompt=prompt,
        context=prompt,
        prefill_steps=1,
        times=np.array([prefilled, end]),
        tokens=np.array([0.0, out]),
        steps=np.array([0.0, out]),
        guessed=False,
        doubtful=False,
        hidden_cache=False,
    )


def test_no_cell_belongs_to_two_windows() -> None:
    """Cells nest in windows, whatever the windows' lengths."""
    cells = Cells([0.0, 0.333, 1.0, 1.001])

    assert set(np.round(cells.bounds, 6)) <= set(np.round(cells.edges, 6))
    assert cells.sum_by_window(cells.width) == pytest.approx([0.333, 0.667, 0.001])


def test_a_window_of_hours_has_wide_cells() -> None:
    """A lost device must not eat the memory."""
    assert len(Cells([0.0, 1e6])) == MOST


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
    """Over windows that cover it wholly, a request's cells hold its whole work."""
    one = text(make, start, start + prefill, start + prefill + decode, prompt, out)
    track = TextTrack(Cells([-2.0, 0.3, 1.1, 4.0, 12.0]), [one])

    assert track.columns["pf"].sum() == pytest.approx(prompt, rel=1e-6)
    assert track.columns["tok"].sum() == pytest.approx(out, rel=1e-6)
    assert track.present.sum() == pytest.approx(one.finish - one.start, rel=1e-6)


def test_a_step_is_counted_once_however_many_share_it(make: Any) -> None:
    """Two sequences in one engine make its steps together."""
    cells = Cells([0.0, 3.0])
    alone = TextTrack(cells, [text(make, 0.5, 0.51, 2.5)]).steps().sum()
    both = TextTrack(cells, [text(make, 0.5, 0.51, 2.5) for _ in range(2)]).steps().sum()

    assert alone == pytest.approx(51, rel=0.02)
    assert both == pytest.approx(alone, rel=0.02)


def test_parts_of_a_step_add_up_to_one(make: Any) -> None:
    """Where somebody takes part, the parts are shares."""
    track = TextTrack(Cells([0.0, 3.0]), [text(make, 0.5, 0.6, 2.5), text(make, 1.0, 1.1, 2.0)])
    total = track.per_cell(track.part_share())

    assert np.all((np.abs(total - 1) < 1e-9) | (total == 0))


def test_a_larger_batch_is_more_images(make: Any) -> None:
    """Megapixel-steps count every image."""
    span = Span(make.opened("a", 0.0, "img"), 0, 0)
    track = ImageTrack(Cells([0.0, 5.0]), [PlacedImage(span, 1.0, 3.0, 0.25, 20.0, 4.0)])

    assert track.work.sum() == pytest.approx(20.0)
    assert track.columns["mps2"].sum() == pytest.approx(5.0)


def test_nobody_there_is_no_work() -> None:
    """A track may be empty."""
    assert TextTrack(Cells([0.0, 1.0]), []).steps().sum() == 0


def test_a_part_of_nothing_is_nothing() -> None:
    """No division by zero."""
    assert ratio(np.array([1.0, 2.0]), np.array([0.0, 4.0])).tolist() == [0.0, 0.5]
