"""The power of a fake GPU by an engine's slots, and whose it is."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.testing.slots import Look, Slot, Slots, StepWatts
from joulegate.units import NANO

WATTS = StepWatts(idle=60, clocks=30, engine=120, prefill=180, decode=25)


class Meter:
    """Takes what the GPU draws, in place of a control file."""

    def __init__(self) -> None:
        self.watts = 0.0

    def power(self, gpu: int, watts: float) -> None:
        self.watts = watts


def charged(*looks: tuple[float, Look]) -> tuple[dict[int, float], float]:
    """Give each request's joules after these looks, and those of the GPU while anybody was there."""
    meter, drawn, before = Meter(), 0.0, (0.0, False)
    slots = Slots(meter, WATTS, "")  # type: ignore[arg-type]  # it only sets the power
    for t, look in looks:
        drawn += meter.watts * (t - before[0]) * before[1]
        slots.take(look, slots.began + round(t * NANO))
        before = (t, bool(look))
    return dict(slots.joules), drawn


def reading(read: int = 0) -> Slot:
    return Slot(read)


def decoding(decoded: int) -> Slot:
    return Slot(50, decoded)


def test_an_idle_gpu_is_nobodys() -> None:
    """It draws its idle power, and nobody is charged."""
    assert WATTS.drawn({}) == 60
    assert charged((0, {}), (5, {})) == ({}, 0)


def test_those_who_decode_share_alike() -> None:
    """Being awake, the engine and each one's own watts."""
    step = {1: decoding(3), 2: decoding(9)}
    joules, _ = charged((0, step), (1, {1: decoding(4), 2: decoding(10)}))
    assert joules == pytest.approx({1: 45 + 60 + 25, 2: 45 + 60 + 25})


def test_prompts_in_one_step_share_it_by_their_tokens() -> None:
    """A short prompt that is read beside a long one takes as long and draws far less."""
    joules, _ = charged((0, {1: reading(), 2: reading()}), (1, {1: reading(300), 2: reading(20)}))
    assert joules == pytest.approx({1: 45 + 300 * 300 / 320, 2: 45 + 300 * 20 / 320})


def test_who_decodes_beside_a_prompt_pays_for_a_step_that_only_decodes() -> None:
    """What the step takes longer is the prompt's."""
    joules, _ = charged(
        (0, {1: decoding(1)}), (0.1, {1: decoding(2), 2: reading()}), (1.1, {1: decoding(3), 2: reading(40)})
    )
    decoded = 0.1 * (90 + 145)
    assert joules[1] == pytest.approx(decoded + 45 + 300 * 0.1 / 2)
    assert joules[2] == pytest.approx(45 + 300 * (0.1 / 2 + 0.9))


def test_who_comes_within_a_step_is_awake_from_then_on() -> None:
    """A step is over only when a look shows what it has done."""
    joules, drawn = charged(
        (0, {1: reading()}), (1, {1: reading(), 2: reading()}), (2, {1: reading(30), 2: reading(10)})
    )
    assert sum(joules.values()) == pytest.approx(drawn)
    assert joules[2] == pytest.approx(45 + 600 / 4)


slots = st.builds(Slot, st.integers(0, 40), st.integers(0, 5))
looks = st.dictionaries(st.integers(1, 4), slots, max_size=4)


@given(st.lists(st.tuples(st.floats(0.01, 2), looks), max_size=12))
def test_all_that_is_drawn_is_somebodys(steps: Sequence[tuple[float, Look]]) -> None:
    """Whatever the looks show, the joules of the requests are the GPU's."""
    times, t = [], 0.0
    for wait, look in steps:
        times.append((t, look))
        t += wait
    joules, drawn = charged(*times, (t, {}))
    assert sum(joules.values()) == pytest.approx(drawn)
