"""The step-clock rule, on worlds with a known truth."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from joulegate.attribution.rules.step_clock import FitRow, Rule
from joulegate.model import Method
from joulegate.replay import Result, read, replay
from joulegate.testing.simulator import SCENARIOS, simulate, write
from joulegate.units import MICRO, NANO, Nanoseconds

SETTLE = Nanoseconds(30 * NANO)


class Judged:
    """A replay beside the truth."""

    def __init__(self, folder: Path, name: str, method: str, seed: int = 3, **changes: Any) -> None:
        world = simulate(replace(SCENARIOS[name], seconds=60, **changes), seed)
        self.foreign = world.foreign
        write(world, folder, seed)
        trace = read(folder / "trace.jsonl", folder / "nvml.jsonl", folder / "public.json")
        self.result: Result = replay(trace, method, SETTLE)
        self.truth = {request.id: request.energy.causal() for request in world.requests}

    def wape(self) -> float:
        """Give the error in percent of the true energy."""
        off = sum(
            abs((self.result.requests[key].energy or 0) / MICRO - true) for key, true in self.truth.items()
        )
        return 100 * off / sum(self.truth.values())

    def covered(self) -> float:
        """Give the part of the requests within two standard deviations, in percent."""
        inside = [
            abs((figure.energy or 0) / MICRO - self.truth[key]) <= 2 * figure.sigma / MICRO
            for key, figure in self.result.requests.items()
            if figure.sigma is not None
        ]
        return 100 * sum(inside) / len(inside)


@pytest.mark.parametrize(
    ("name", "most"), [("mix", 4.0), ("nothing_streamed", 5.0), ("two_models", 4.0), ("image_queue", 3.0)]
)
def test_its_figures_are_near_the_truth_and_know_how_near(tmp_path: Path, name: str, most: float) -> None:
    """A few per cent where equal shares are off by a quarter, with error bars that hold."""
    judged = Judged(tmp_path, name, "step-clock")

    assert judged.wape() < most
    assert judged.covered() > 90
    for books in judged.result.books:
        assert books.counter == books.requests + books.idle + books.unattributed


@pytest.mark.parametrize("stranger", [(4, 6, 300), (1000, 1, 300)])
@pytest.mark.parametrize("method", ["step-clock", "tokens", "overlap"])
def test_nobody_pays_for_a_stranger_who_is_told_of(tmp_path: Path, method: str, stranger: Any) -> None:
    """Where a driver tells who uses the device: bursts, and a job that runs all the time."""
    judged = Judged(tmp_path, "foreign_watched", method, stranger=stranger)
    paid = sum((figure.energy or 0) / MICRO for figure in judged.result.requests.values())
    (books,) = judged.result.books

    assert abs(paid - sum(judged.truth.values())) < 0.15 * judged.foreign
    assert books.unattributed / MICRO == pytest.approx(judged.foreign, rel=0.15)
    assert books.counter == books.requests + books.idle + books.unattributed
    if method == "step-clock":
        assert judged.wape() < 6
        assert judged.covered() > 85


def test_it_beats_token_shares_where_a_prefilled_token_is_cheap(tmp_path: Path) -> None:
    """Long prompts with short answers beside the reverse tell good rules from bad ones."""
    model = Judged(tmp_path / "model", "mix", "step-clock").wape()

    assert model < 0.6 * Judged(tmp_path / "tokens", "mix", "tokens").wape()


def test_the_first_figures_are_estimates(tmp_path: Path) -> None:
    """Before anything can be fitted coefficients are assumed, and the method says so."""
    (tmp_path / "trace.jsonl").write_text(
        '{"ev":"start","t":0.5,"id":"a","upstream":"llm","task":"x","body_bytes":9,"stream":false}\n'
        '{"ev":"end","t":1.2,"id":"a","status":200,"usage":null,"resp_bytes":90}\n'
    )
    rows = [f'{{"t":{i / 10},"gpu":0,"energy_mj":{i * 20000}}}' for i in range(20)]
    (tmp_path / "nvml.jsonl").write_text("\n".join(rows))
    (tmp_path / "public.json").write_text('{"upstreams":{"llm":{"kind":"llm","gpus":[0]}},"n_gpus":1}')
    trace = read(tmp_path / "trace.jsonl", tmp_path / "nvml.jsonl", tmp_path / "public.json")
    figure = next(iter(replay(trace, "step-clock", SETTLE).requests.values()))

    assert figure.method is Method.ESTIMATE
    assert figure.energy is not None
    assert figure.sigma is not None


def test_figures_that_are_final_soon_still_teach(tmp_path: Path) -> None:
    """Windows that are booked while somebody in them still runs say nothing yet; later they do."""
    write(simulate(replace(SCENARIOS["saturated"], seconds=40), 3), tmp_path, 3)
    trace = read(tmp_path / "trace.jsonl", tmp_path / "nvml.jsonl", tmp_path / "public.json")
    methods = [figure.method for figure in replay(trace, "step-clock", Nanoseconds(NANO)).requests.values()]

    assert methods.count(Method.MODEL) > 0.7 * len(methods)


def test_power_that_nothing_explains_falls_back_to_token_shares(tmp_path: Path) -> None:
    """A fit that cannot be trusted is not used, and the method says so."""
    write(simulate(SCENARIOS["light"], 1), tmp_path, 1)
    rows, total, state = [], 0, 12345
    for i in range(1200):
        state = (state * 1103515245 + 12345) % 2**31
        total += 5000 if (state >> 16) % 10 else 700_000
        rows.append(f'{{"t":{i / 10},"gpu":0,"energy_mj":{total}}}')
    (tmp_path / "nvml.jsonl").write_text("\n".join(rows))
    trace = read(tmp_path / "trace.jsonl", tmp_path / "nvml.jsonl", tmp_path / "public.json")
    methods = [figure.method for figure in replay(trace, "step-clock", SETTLE).requests.values()]

    assert methods.count(Method.TOKENS) > len(methods) / 2


def test_figures_do_not_depend_on_what_comes_later(tmp_path: Path) -> None:
    """Cut the files at any time: who was final before keeps the same integers."""
    write(simulate(SCENARIOS["mixed"], 4), tmp_path, 4)
    paths = [tmp_path / name for name in ("trace.jsonl", "nvml.jsonl", "public.json")]
    whole = read(*paths)
    full = replay(whole, "step-clock", SETTLE).requests
    cut = 75.0
    for path in paths[:2]:
        rows = path.read_text().splitlines()
        path.write_text(
            "\n".join(row for row in rows if float(row.split('"t":')[1].split(",")[0].rstrip("}")) < cut)
        )
    part = replay(read(*paths), "step-clock", SETTLE).requests
    ends = {event.id: event.t / NANO for event in whole.events if type(event).__name__ == "SpanClosed"}
    final = [key for key, end in ends.items() if end + 30 + 10.5 < cut]

    assert len(final) > 20
    assert {key: part[key] for key in final} == {key: full[key] for key in final}


@pytest.mark.parametrize(("known", "foreign"), [(True, True), (False, False)])
def test_power_of_an_empty_device_is_a_strangers_only_if_its_idle_power_is_known(
    bench: Any, make: Any, known: bool, foreign: bool
) -> None:
    """Before idle power is learned nobody can say that an empty device draws too much."""
    one = bench("step-clock")
    if known:
        one.feed([make.reading(i / 10, 60 * i / 10) for i in range(600)])
        for t in range(0, 60, 5):
            one.advance(t)
    one.feed([make.reading(60 + i / 10, 3600 + 400 * i / 10) for i in range(100)])
    run = one.drain(200)
    strange = sum(
        part for window in run.windows for reason, part in window.unattributed if reason == "foreign"
    )

    assert (strange > 0) is foreign
    assert all(window.error() == 0 for window in run.windows)


def test_rows_in_which_somebody_still_runs_teach_nothing() -> None:
    """Work that cannot be placed yet would poison the fit."""
    rule = Rule()
    for place in range(60):
        unsure = place % 2
        work = {"llm/llm:step": 100.0 + place, ":tail0": 0.0, ":tail1": 0.0, ":tail2": 0.0, ":tail3": 0.0}
        energy = (100 + place) * (9.0 if unsure else 2.0)
        rule._rows[place * NANO] = FitRow(work, energy, 1.0, 1.0, 0.0, float(unsure))
    rule.fit(None, 0.0, Nanoseconds(60 * NANO))

    assert rule._coefficients(["llm/llm:step"])[0] == pytest.approx([2.0], rel=0.02)
