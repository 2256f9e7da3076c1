"""The step clock on a real engine: each request's joules against what it truly drew."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from joulegate.testing.nvml import PROFILES, Control, Gpu
from joulegate.testing.slots import Slots, StepWatts

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

CLIENTS = 6
"""Two more than the engine has slots: some wait."""
LEARNING, JUDGED = range(1, 13), range(13, 37)
SENTENCE = "the grid carries power to every house "
CONFIG = """
[attribution]
settle = "20 s"
[[upstream]]
name = "llm"
url = "{url}"
gpus = [0]
"""


class Misattributed(AssertionError):
    """The books are exact, but figures of single requests are too far from the truth."""


class Figure(NamedTuple):
    """One request; energies in joules."""

    number: int
    truth: float
    overlap: float
    view: dict[str, Any]

    @property
    def attributed(self) -> float:
        return float(self.view["energy_joules"])

    def line(self) -> str:
        error = 100 * (self.attributed / self.truth - 1)
        return (
            f"{self.number:4} {self.truth:8.1f} {self.attributed:8.1f} {self.overlap:8.1f} "
            f"{self.view['sigma_joules'] or 0:6.1f} {self.view['method']:>9} {error:+7.1f} %"
        )


def talk(base: str, model: str, number: int) -> None:
    """Send one request; two of three are read as streams. Prompt and answer are of every length."""
    prompt = f"{number}: " + SENTENCE * (2, 30, 8, 50, 4)[number % 5]
    tokens = (16, 48, 24, 32)[number % 4]
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0, timeout=120) as client:
        answer = client.completions.create(
            model=model, prompt=prompt, max_tokens=tokens, seed=number, stream=number % 3 > 0,
            extra_headers={"X-Request-Id": f"clock-{number}"}, extra_body={"ignore_eos": True},
        )  # fmt: skip
        if number % 3:
            assert list(answer)


def test_concurrent_requests_are_charged_what_they_drew(
    llama: Any, joulegate: Any, library: Path, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """Streams and whole answers in one batch: 15 % off at most in the mean, and better than equal parts.

    An open point, told in docs/attribution.md: with steps of 25 to 100 ms it was 27 % off, equal parts 19 %.

    The simulator's figures are far lower. Here the steps are those of a real engine on a busy machine,
    power changes up to 20 ms after the work, the counter moves each 100 ms, and half a minute is all there
    is to learn from.
    """
    control = Control(tmp_path / "gpus", [Gpu("GPU-0", watts=0, profile=PROFILES["hopper"])])
    first = control.counter(0)
    slots = Slots(control, StepWatts(), llama.url.removeprefix("http://"))
    with ExitStack() as stack:
        config = CONFIG.format(url=llama.url)
        running = stack.enter_context(joulegate(config, env=control.environment(library)))
        with slots.follow(), ThreadPoolExecutor(CLIENTS) as clients:
            for round_ in (LEARNING, JUDGED):
                list(clients.map(lambda number: talk(running.proxy, llama.model, number), round_))
        control.power(0, 0)
        status = running.settled(len(LEARNING) + len(JUDGED))

        def final(number: int) -> dict[str, Any] | None:
            view: dict[str, Any] = running.json(f"/v1/requests/clock-{number}")
            return view if view["state"] == "final" else None

        views = {number: eventually(lambda n=number: final(n), f"{number} is final") for number in JUDGED}
    _check_books(status, control.counter(0) - first)
    overlap = _equal_parts(slots)
    figures = [Figure(number, slots.joules[number], overlap[number], views[number]) for number in JUDGED]
    _check_figures(figures)


def _check_books(status: dict[str, Any], drawn: int) -> None:
    (device,) = status["devices"]
    unattributed = sum(energy for _, energy in device["unattributed"])
    assert device["measured"] == drawn
    assert device["requests"] + device["idle"] + unattributed == device["measured"]


def _check_figures(figures: Sequence[Figure]) -> None:
    truth = [figure.truth for figure in figures]
    error = wape(truth, [figure.attributed for figure in figures])
    equal = wape(truth, [figure.overlap for figure in figures])
    rank = spearman(truth, [figure.attributed for figure in figures])
    print("\n  nr   truth J    got J  equal J  sigma    method   error")
    print("\n".join(figure.line() for figure in figures))
    print(f"WAPE {100 * error:.1f} %, in equal parts {100 * equal:.1f} %, rank {rank:.3f}")
    learned = sum(figure.view["method"] == "model" for figure in figures)
    assert learned > len(figures) / 2
    if error > min(0.15, equal) or rank < 0.9:
        raise Misattributed(f"WAPE {error:.3f}, in equal parts {equal:.3f}, rank {rank:.3f}")


def _equal_parts(slots: Slots) -> dict[int, float]:
    """Give each request's joules if all in a slot were charged alike."""
    found = dict.fromkeys(slots.joules, 0.0)
    for elapsed, watts, present in slots.present:
        for number in present:
            found[number] += elapsed * watts / len(present)
    return found


def wape(truth: Sequence[float], got: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(truth, got, strict=True)) / sum(truth)


def spearman(truth: Sequence[float], got: Sequence[float]) -> float:
    """Spearman's rank correlation; no two figures are equal."""
    n = len(truth)
    ranks = [dict(zip(sorted(values), count(), strict=False)) for values in (truth, got)]
    squares = sum((ranks[0][a] - ranks[1][b]) ** 2 for a, b in zip(truth, got, strict=True))
    return 1 - 6 * squares / (n * (n * n - 1))
