"""Finding how far a counter lags."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from joulegate.attribution.booking.settler import Settler
from joulegate.attribution.rules.step_clock import Rule
from joulegate.replay import read
from joulegate.replay.run import _feed, _ticks
from joulegate.testing.simulator import SCENARIOS, simulate, write
from joulegate.units import NANO, Nanoseconds


@pytest.mark.parametrize("lag_ms", [20, 140])
def test_the_lag_of_a_counter_is_found(tmp_path: Path, lag_ms: int) -> None:
    """Shift the readings of a world by a known time: the scan follows, to some tens of ms."""
    write(simulate(SCENARIOS["mixed"], 2), tmp_path, 2)
    trace = read(tmp_path / "trace.jsonl", tmp_path / "nvml.jsonl", tmp_path / "public.json")
    shift = (lag_ms - 30) * NANO // 1000
    rules: list[Rule] = []

    def rule() -> Rule:
        rules.append(Rule())
        return rules[-1]

    setup = trace.setup
    settler = Settler(
        rule, setup.upstreams, setup.devices, settle=Nanoseconds(30 * NANO), idle_power=setup.idle_power
    )

    moved = replace(trace, samples=tuple(replace(one, t=Nanoseconds(one.t + shift)) for one in trace.samples))
    for now, inputs in _ticks(moved, 0):
        _feed(settler, inputs)
        settler.advance(now)
    found = rules[-1].fit(None, 0.0, Nanoseconds(0)) or 0.03

    assert found == pytest.approx(lag_ms / 1000, abs=0.045)
