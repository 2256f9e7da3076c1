"""The step clock of one engine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.attribution.features.step_clock import StepClock, Streams, apart, tokens_per_step
from joulegate.attribution.maths.arrays import Floats

Chunks = tuple[Floats, float | None]
"""When the chunks of a stream came, and its tokens."""


def regular(start: float, steps: int, step: float = 0.008, jitter: float = 0.0005) -> Chunks:
    noise = np.random.default_rng(steps).uniform(0, jitter, steps)
    return start + step * np.arange(steps) + noise, float(steps)


def streams(*some: Chunks) -> Streams:
    return Streams(
        np.concatenate([np.empty(0), *(times for times, _ in some)]),
        np.array([len(times) for times, _ in some], dtype=np.int64),
        np.array([tokens for _, tokens in some], dtype=np.float64),
        np.zeros(len(some), dtype=np.int64),
    )


def done(clock: StepClock, start: float, end: float) -> float:
    return float(np.diff(clock.at(np.array([start, end])))[0])


def test_the_typical_step_is_the_median_gap() -> None:
    """Jitter and the long first gap do not matter."""
    clock = StepClock(streams(regular(0.0, 100), regular(0.0, 60)), 0.0, 1.0, None)

    assert clock.step == pytest.approx(0.008, rel=0.05)
    assert clock.learned


def test_streams_that_tick_together_give_one_step_end() -> None:
    """Chunks of one step reach the gate in a burst: they are one tick."""
    clock = StepClock(streams(*[regular(0.0, 100)] * 8), 0.0, 1.0, None)

    assert len(clock.ends) == pytest.approx(100, abs=2)


def test_a_straggler_is_no_step() -> None:
    """One late chunk among many streams is ignored."""
    late = np.append(regular(0.0, 99)[0], 0.9), 100.0
    clock = StepClock(streams(*[regular(0.0, 200)] * 9, late), 0.0, 2.0, None)

    assert not any(abs(end - 0.9035) < 0.0004 for end in clock.ends)


def test_steps_are_counted_where_streams_run_and_assumed_elsewhere() -> None:
    """The clock goes on at its usual pace where nobody streams."""
    clock = StepClock(streams(regular(1.0, 100, jitter=0.0)), 0.0, 3.0, None)

    assert done(clock, 1.1, 1.7) == pytest.approx(75, rel=0.02)
    assert done(clock, 2.1, 2.9) == pytest.approx(100, rel=0.02)


@given(st.floats(-1, 4))
def test_when_is_the_inverse_of_at(t: float) -> None:
    """The instant of a step count is the one that has it, also outside of what was seen."""
    clock = StepClock(streams(regular(0.5, 150)), 0.0, 3.0, None)

    assert clock.when(clock.at(np.array([t]))) == pytest.approx([t], abs=1e-6)


def test_going_back_finds_the_step_end() -> None:
    """Steps before an instant end where chunks came."""
    clock = StepClock(streams(regular(0.0, 100, jitter=0.0)), 0.0, 1.0, None)

    assert clock.back(np.array([0.4, 0.004]), np.array([2, 5])) == pytest.approx([0.384, -0.036], abs=1e-6)


def test_several_tokens_in_every_chunk_are_speculative_decoding() -> None:
    """If no stream shows single tokens and chunks come at the pace of steps, the engine drafts."""
    drafted = streams(*[(0.012 * np.arange(50) + place, 150.0) for place in range(5)])

    assert tokens_per_step(drafted) == pytest.approx(3)
    assert StepClock(drafted, 0.0, 6.0, None).speculative


def test_chunks_held_back_on_their_way_are_not() -> None:
    """A lump every 100 ms is the network's doing, whatever it holds."""
    lumpy = streams(*[(0.1 * np.arange(20) + place, 240.0) for place in range(5)])

    assert tokens_per_step(lumpy) == 1.0


def test_lumpy_streams_do_not_set_the_clock() -> None:
    """Clean streams tick for all."""
    lumpy: list[Chunks] = [(0.06 * np.arange(20) + place, 150.0) for place in range(3)]
    clock = StepClock(streams(regular(0.0, 300), *lumpy), 0.0, 3.0, None)

    assert clock.step == pytest.approx(0.008, rel=0.05)


def test_missing_chunks_are_made_up_for() -> None:
    """A stream of 101 tokens in 51 chunks made two steps a chunk."""
    times = np.arange(51) * 0.01

    assert streams((times, 101.0), (times, None), (times[:1], 5.0)).pace == pytest.approx([2.0, 1.0, 1.0])


def test_nobody_streams() -> None:
    """Without any chunk the clock runs at the usual step."""
    clock = StepClock(streams(), 0.0, 1.0, 0.02)

    assert done(clock, 0.2, 0.8) == pytest.approx(30)
    assert clock.ends == []


def test_instants_of_many_are_read_at_once() -> None:
    """Moved apart, none lies in the range of another, and each reads as it would alone."""
    rng = np.random.default_rng(7)
    times = [np.sort(rng.uniform(-5, 50, size)) for size in (1, 7, 30)]
    keys, shift = apart(np.concatenate(times), np.array([1, 7, 30]))

    assert (np.diff(keys) >= 0).all()
    for one, moved in zip(times, shift, strict=True):
        alone = np.interp(one, one, np.arange(len(one)))
        low = np.searchsorted(keys, one[0] + moved)
        assert np.interp(one + moved, keys, np.arange(len(keys))) - low == pytest.approx(alone)


def test_a_streams_first_gap_and_what_lies_between_streams_are_no_gaps() -> None:
    """The typical step is that of all other gaps together."""
    early, late = (np.array([0.0, 5.0, 5.01, 5.02]), 4.0), (np.array([9.0, 9.5, 9.51, 9.52]), 4.0)

    assert StepClock(streams(early, late), 0.0, 10.0, None).step == pytest.approx(0.01)
