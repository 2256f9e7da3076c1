"""The power of a fake GPU by an engine's slots."""

from hypothesis import given
from hypothesis import strategies as st

from joulegate.testing.slots import StepWatts

WATTS = StepWatts(idle=60, clocks=30, engine=120, prefill=90, decode=25)


def test_nobody_in_a_slot_draws_nothing() -> None:
    """The idle GPU is nobody's."""
    assert WATTS.shares({}) == {}


def test_who_decodes_shares_the_engine_equally() -> None:
    """Being awake and the step in equal parts, and each its own tokens."""
    assert WATTS.shares({1: 3, 2: 9}) == {1: 45 + 60 + 25, 2: 45 + 60 + 25}


def test_a_prompt_pays_for_the_step_that_reads_it() -> None:
    """Who waits for another's prompt draws only his part of being awake."""
    assert WATTS.shares({1: 3, 2: 0}) == {1: 45, 2: 45 + 120 + 90}


@given(st.dictionaries(st.integers(), st.integers(0, 99), min_size=1, max_size=8))
def test_shares_add_up_to_the_power_of_the_gpu(decoded: dict[int, int]) -> None:
    """Awake and engine once, and the watts of each slot that works."""
    reading = sum(tokens == 0 for tokens in decoded.values())
    own = 90 * reading if reading else 25 * len(decoded)
    assert abs(sum(WATTS.shares(decoded).values()) - (210 + own)) < 1e-9
