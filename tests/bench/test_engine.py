"""The engine serves everyone, keeps to its budget and logs exactly what it did."""

from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

asks = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 40), st.integers(1, 12)), min_size=1, max_size=15
)


class Llm:
    """Takes a millisecond a step and looks where the tokens go."""

    kv_tokens = 120

    def __init__(self) -> None:
        self.now = 0
        self.stored: dict[int, int] = {}
        self.budget_used: list[int] = []

    def clock(self) -> int:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += round(seconds * 1e9) + 1

    def step(self, parts: list[Any]) -> None:
        self.now += 10**6
        self.budget_used.append(sum(part.new for part in parts))
        spans = sorted((part.start, part.start + part.before + part.new) for part in parts)
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
        assert spans[-1][1] <= self.kv_tokens


@given(wanted=asks)
def test_everyone_gets_all_tokens(gpu: ModuleType, wanted: list[tuple[int, int, int]]) -> None:
    """In order, within the budget, in places of their own; the log has every token once."""
    llm, engine = Llm(), gpu.engine
    requests = [
        engine.Ask(f"r{n:02d}", "t", at * 10**6, prompt, out) for n, (at, prompt, out) in enumerate(wanted)
    ]
    made = engine.Engine(llm, budget=16, slots=4)
    steps, served = engine.serve(made, requests, begin=0, end=10**12, clock=llm.clock, pause=llm.pause)
    assert [one.ask for one in served] == sorted(requests, key=lambda ask: (ask.at, ask.id))
    assert max(llm.budget_used) <= 16
    for one in served:
        mine = [step for step in steps if one.ask.id in dict(step.decodes)]
        assert len(one.chunks) == one.ask.out
        assert one.chunks[1:] == [step.ended for step in mine]
        assert [dict(step.decodes)[one.ask.id] for step in mine] == list(
            range(one.ask.prompt + 1, one.ask.prompt + one.ask.out)
        )
        assert (
            sum(new for step in steps for name, new, _ in step.prefills if name == one.ask.id)
            == one.ask.prompt
        )


def test_first_come_first_served(gpu: ModuleType) -> None:
    """A queued request has no step before its place is free."""
    llm, engine = Llm(), gpu.engine
    made = engine.Engine(llm, budget=64, slots=1)
    both = [engine.Ask("a", "t", 0, 10, 5), engine.Ask("b", "t", 0, 10, 5)]
    steps, _ = engine.serve(made, both, begin=0, end=10**12, clock=llm.clock, pause=llm.pause)
    names = [{*dict(step.decodes), *(name for name, _, _ in step.prefills)} for step in steps]
    assert names == [{"a"}] * 5 + [{"b"}] * 5


def test_what_still_runs_at_the_end_is_given_up(gpu: ModuleType) -> None:
    """Running and queued requests have a time at which they were left."""
    llm, engine = Llm(), gpu.engine
    made = engine.Engine(llm, budget=64, slots=1)
    both = [engine.Ask("a", "t", 0, 10, 50), engine.Ask("b", "t", 0, 10, 5)]
    _, served = engine.serve(made, both, begin=0, end=10 * 10**6, clock=llm.clock, pause=llm.pause)
    assert [(len(one.chunks), one.left) for one in served] == [(10, 10**7), (0, 10**7)]


def test_a_request_beyond_the_memory_is_refused(gpu: ModuleType) -> None:
    """It would wait for ever."""
    with pytest.raises(ValueError, match="r wants 200 tokens of 120"):
        gpu.engine.Engine(Llm(), budget=8, slots=1).put(gpu.engine.Ask("r", "t", 0, 150, 50))


def test_a_class_can_be_left_out_without_moving_the_others(gpu: ModuleType) -> None:
    """Paired removal compares the very same arrivals."""
    whole = gpu.traffic.language(gpu.shapes.FULL, 30, 7)
    less = gpu.traffic.language(gpu.shapes.FULL, 30, 7, without="rag")
    assert less == [ask for ask in whole if ask.task != "rag"] != whole
