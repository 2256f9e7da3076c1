"""The whole experiment on a machine whose energy is known: what it finds is what was put in."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from joulegate.replay import read
from joulegate.units import joules

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(bench: Callable[..., Any], gpu: ModuleType) -> Path:
    """A run of all blocks, at a third of their length."""
    made = bench(0.35)
    for block, seconds in gpu.blocks.BLOCKS.values():
        block(made, seconds * made.scale)
    return Path(made.recorder.folder)


@pytest.fixture(scope="module")
def found(folder: Path, gpu: ModuleType) -> Any:
    return gpu.analysis.find(gpu.records.load(folder), folder)


def test_the_sensor_is_found_out(found: Any) -> None:
    """Update period, lag, idle and clocks-up power and the tail, as the machine has them."""
    assert found.sensor.period_ms == pytest.approx(100, abs=2)
    assert found.sensor.lag_ms == pytest.approx(30, abs=15)
    assert found.sensor.idle_w == pytest.approx(75, rel=0.01)
    assert found.sensor.clocks_up_w == pytest.approx(45, rel=0.05)
    assert found.sensor.tail_s == pytest.approx(0.8, abs=0.15)
    assert found.sensor.call_us == 30


def test_the_polling_rates_are_compared(found: Any) -> None:
    """A counter that polling does not disturb shows the same watts at every rate."""
    assert [one.rate for one in found.polling] == [5, 20, 200]
    assert [one.counter_w for one in found.polling] == pytest.approx(
        [found.polling[0].counter_w] * 3, rel=0.02
    )


def test_the_costs_of_work_are_found(found: Any, costs: dict[str, float]) -> None:
    """From decode, prefill and denoising alone, each unit by itself."""
    assert found.truth.costs == pytest.approx(costs, rel=0.03)
    assert found.fit_r2 > 0.999


def test_a_step_is_affine_in_the_batch(found: Any, costs: dict[str, float]) -> None:
    """The machine's law is a straight line, and its slope grows with the context."""
    assert [line.context for line in found.lines] == [256, 2048, 8192]
    for line in found.lines:
        assert line.fixed == pytest.approx(costs["step"], rel=0.03)
        assert line.each == pytest.approx(costs["tok"] + costs["kv"] * (line.context + 1), rel=0.03)
        assert line.worst < 0.01


def test_unseen_mixes_are_predicted(found: Any) -> None:
    """Windows and totals of the mixes, whose energy no coefficient has seen."""
    for mix in found.mixes[:2]:
        assert mix.r2 > 0.98
        assert mix.predicted == pytest.approx(mix.measured, rel=0.02)


def test_requests_by_themselves_cost_what_their_steps_cost(found: Any) -> None:
    """The counter and the step log agree on each class."""
    assert len(found.alone) == 8
    for one in found.alone:
        assert one.measured == pytest.approx(one.predicted, rel=0.04)


def test_a_removed_class_takes_its_energy_away(found: Any) -> None:
    """The difference of two runs with one seed is predicted, and it repeats."""
    assert {pair.without for pair in found.pairs} == {"write"}
    for pair in found.pairs:
        assert pair.measured == pytest.approx(pair.predicted, rel=0.05)
        assert pair.predicted > 100


def test_foreign_energy_is_what_the_step_log_does_not_explain(found: Any, foreign_w: float) -> None:
    """The matrix products of the stranger show as watts beyond the prediction, in mix C only."""
    assert [mix.foreign_w is None for mix in found.mixes] == [True, True, False]
    assert found.mixes[2].foreign_w == pytest.approx(foreign_w, rel=0.05)


def test_joulegate_finds_the_class_energies(found: Any, gpu: ModuleType) -> None:
    """From chunks, usage and the counter alone, within a tenth of the step log; its books are exact."""
    for mix in found.mixes[:2]:
        for one in mix.classes:
            assert one.attributed == pytest.approx(one.truth, rel=0.1)
    assert [mix.off_balance for mix in found.mixes] == [0, 0, 0]
    assert [met for _, _, met in gpu.report.verdicts(found)] == [True, True, True]


def test_the_truth_of_a_mix_adds_up(folder: Path, found: Any) -> None:
    """All requests together are the prediction less the idle power when nobody was there."""
    rows = [json.loads(line) for line in (folder / "mix-a" / "truth.jsonl").read_text().splitlines()]
    mix = found.mixes[0]
    total = sum(row["causal"] for row in rows)
    assert total < mix.predicted
    assert total > mix.predicted - found.sensor.idle_w * mix.seconds
    for row in rows:
        assert row["causal"] == pytest.approx(row["dynamic"] + row["static"], abs=1e-5)
        assert row["own"] == pytest.approx(
            sum(row[c] for c in ("prefill", "decode", "kv", "image")), abs=1e-5
        )


@pytest.mark.parametrize("name", ["mix-a", "mix-b", "mix-c"])
def test_a_mix_is_a_trace_that_replay_accepts(folder: Path, found: Any, name: str) -> None:
    """Every request, and the counter over the whole of it."""
    here = folder / name
    trace = read(here / "trace.jsonl", here / "nvml.jsonl", here / "public.json")
    truths = (here / "truth.jsonl").read_text().splitlines()
    assert len(trace.tasks) == len(truths) > 50
    counters = [sample.counter for sample in trace.samples]
    mix = next(mix for mix in found.mixes if mix.name == name)
    assert joules(counters[-1] - counters[0]) > mix.measured


def test_what_does_not_fit_is_said(found: Any, gpu: ModuleType) -> None:
    """A configuration beyond the memory is left out by name, not silently."""
    assert [line.split(":")[0] for line in found.skipped] == ["decode 64 x 8192", "decode 128 x 8192"]
    assert "Left out: decode 128 x 8192" in gpu.report.markdown(found)


def test_a_block_that_fails_ends_only_itself(
    bench: Callable[..., Any],
    gpu: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The others run, the report names the failure, and helpers are dismissed."""
    made = bench(0.1)

    def broken(bench: Any, seconds: float) -> None:
        """Start a helper and fail."""
        bench.worker("unet")
        raise MemoryError("no room for a second model")

    monkeypatch.setitem(gpu.blocks.BLOCKS, "mix-b", (broken, 1.0))
    names = ["idle", "decode", "mix-b", "mix-a"]
    assert [gpu.experiment.run_block(made, name) for name in names] == [True, True, False, True]
    assert made.workers == {}
    assert gpu.analysis.main([str(made.recorder.folder)]) == 0
    said = capsys.readouterr()
    assert (made.recorder.folder / "report.md").read_text() in said.out
    assert "Left out: mix-b: failed with MemoryError: no room for a second model." in said.out
    assert "### mix-a" in said.out
    assert "Traceback" in said.err


def test_the_analysis_can_be_run_again(bench: Callable[..., Any], gpu: ModuleType) -> None:
    """Raw data are enough, and a block that was run twice counts as it was the last time."""
    made = bench(0.05)
    for name in ("idle", "decode", "mix-a", "decode"):
        assert gpu.experiment.run_block(made, name)
    folder, reports = made.recorder.folder, []
    for _ in range(2):
        assert gpu.analysis.main([str(folder)]) == 0
        reports.append((folder / "report.md").read_text())
    assert reports[0] == reports[1]
    blocks = gpu.records.load(folder).kind("decode")
    assert len({block["name"] for block in blocks}) == len(blocks) == 13
    assert json.loads((folder / "result.json").read_text())["fit_r2"] > 0.99
