"""Where the work of streams lies in time."""

from typing import Any

import numpy as np
import pytest

from joulegate.attribution.features.cells import Cells, TextTrack
from joulegate.attribution.features.counts import Answers
from joulegate.attribution.features.placed_work import PlacedWork
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_rate import clock_of
from joulegate.attribution.features.streams import StreamPlacer
from joulegate.attribution.input.request import RequestInput


def placed(spans: list[RequestInput], claimed: set[int]) -> list[PlacedWork]:
    habits = Priors()
    answers = Answers(spans, habits)
    clock = clock_of(answers, habits, 0.0, 20.0)
    return StreamPlacer(clock, habits, 2048, claimed).place(answers, answers.rows["end"])


def stream(make: Any, key: str, times: list[float], tokens: int) -> RequestInput:
    one = RequestInput(make.opened(key, 0.5, stream=True), 0, 0)
    one.take(make.chunks(key, times))
    one.take(make.closed(key, times[-1] + 0.001, 100, tokens))
    return one


def test_a_stream_decodes_as_its_chunks_come(make: Any) -> None:
    """Its curve has every chunk, and at the end all of its tokens."""
    clean, lumpy = placed([stream(make, "a", [1.0 + 0.01 * i for i in range(50)], 50)], set())

    assert len(lumpy) == 0
    assert clean.curves.counts.tolist() == [len(clean.curves.times)] == [50]
    assert clean.curves.tokens[-1] == 50


def test_lumps_are_left_to_the_clock(make: Any) -> None:
    """Chunks that were held back do not say when their tokens were made."""
    ticking = stream(make, "a", [1.0 + 0.01 * i for i in range(300)], 300)
    late = stream(make, "b", [1.5 + 0.1 * i for i in range(10)], 100)
    clean, lumpy = placed([ticking, late], set())

    assert [span.id for span in clean.requests] == ["a"]
    assert [span.id for span in lumpy.requests] == ["b"]
    assert len(lumpy.curves) == 0
    assert lumpy.steps == pytest.approx(np.array([99.0]))


def test_the_step_of_a_prefill_is_claimed(make: Any) -> None:
    """Another prompt cannot have been prefilled in the same one."""
    claimed: set[int] = set()
    placed([stream(make, "a", [1.0 + 0.01 * i for i in range(50)], 50)], claimed)

    assert claimed == {0}


def test_what_is_trimmed_changes_nothing_of_what_is_to_come(make: Any) -> None:
    """The same work lies in the last seconds of a long stream whether or not its first minute is kept."""
    cells, work = Cells([60.0, 61.0, 62.0]), []
    for trimmed in (False, True):
        one = stream(make, "a", [1.0 + 0.02 * i for i in range(3100)], 3100)
        if trimmed:
            one.trim(55.0)
            assert one.gone > 2000
        (clean, _) = placed([one], set())
        track = TextTrack(cells, clean)
        work.append([track.columns[name].sum() for name in ("tok", "kv", "pf")] + [track.part.sum()])

    assert work[0] == pytest.approx(work[1], rel=1e-6)
    assert work[0][0] == pytest.approx(100, rel=0.01)
