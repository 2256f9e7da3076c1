"""The serving simulator keeps its own books, or nothing measured against it means anything."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from joulegate.testing.simulator import OUTSIDE, REGULAR, SCENARIOS, Scenario, World, simulate, write

NAMES = sorted(SCENARIOS)


def quiet_seconds(world: World) -> float:
    """Give the time in which neither a request nor a stranger is on the device."""
    spans = sorted(
        (r.admitted, r.ended) for r in world.requests if r.admitted is not None and r.ended is not None
    )
    busy, last = 0.0, 0.0
    end_of_all = float(world.times[-1])
    strangers = world.alien.between(0.0, end_of_all)
    for start, end in spans:
        if end > last:
            busy += end - max(start, last)
            strangers -= world.alien.between(max(start, last), end)
        last = max(last, end)
    return end_of_all - busy - strangers


@pytest.mark.parametrize("name", NAMES)
def test_true_energies_add_up_to_what_the_devices_drew(name: str) -> None:
    """Requests, strangers and idle power are all there is."""
    scenario = replace(SCENARIOS[name], seconds=12, tail_seconds=0.0)
    world = simulate(scenario, seed=5)
    requests = sum(request.energy.causal() for request in world.requests)
    idle = scenario.idle_watts * quiet_seconds(world)
    assert requests > 0
    assert requests + world.foreign + idle == pytest.approx(world.energy(world.times[-1]), rel=1e-6)


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    """A figure that was published can be had again."""
    for folder in ("one", "two"):
        write(simulate(replace(SCENARIOS["mix"], seconds=5), seed=4), tmp_path / folder, seed=4)
    for name in ("trace.jsonl", "nvml.jsonl", "public.json", "truth.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_recorded_rows_keep_the_order_of_time(name: str, tmp_path: Path) -> None:
    """Rows do not go back in time, chunks lie between start and end, and each request ends once."""
    write(simulate(replace(SCENARIOS[name], seconds=10), seed=2), tmp_path, seed=2)
    rows = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert [row["t"] for row in rows] == sorted(row["t"] for row in rows)
    starts = {row["id"]: row["t"] for row in rows if row["ev"] == "start"}
    ends = [row for row in rows if row["ev"] in ("end", "job_done")]
    assert len({row["id"] for row in ends}) == len(ends) > 0
    for row in ends:
        times = row.get("chunk_t", [])
        assert times == sorted(times)
        assert all(starts[row["id"]] <= time <= row["t"] + 0.001 for time in times)


def test_a_reset_restarts_the_counter_and_a_gap_only_hides_it(tmp_path: Path) -> None:
    """The sensor's faults look as NVML's do."""
    write(simulate(SCENARIOS["sensor_faults"], seed=1), tmp_path, seed=1)
    rows = [json.loads(line) for line in (tmp_path / "nvml.jsonl").read_text().splitlines()]
    counters = [row["energy_mj"] for row in rows if "energy_mj" in row]
    falls = sum(after < before for before, after in itertools.pairwise(counters))
    assert falls == 1
    assert any("error" in row for row in rows)


def test_scenarios_have_names_of_their_own() -> None:
    """No scenario hides another one."""
    scenarios: tuple[Scenario, ...] = (*REGULAR, *OUTSIDE)
    assert len({scenario.name for scenario in scenarios}) == len(scenarios)
