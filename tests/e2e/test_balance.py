"""The books against the counter: real model, real client, real Prometheus, a GPU that is known exactly."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import openai
import pytest

from joulegate.ledger.reader import LedgerReader
from joulegate.testing.nvml import Control, Gpu

pytestmark = pytest.mark.e2e

PROMPTS = 8
CONFIG = """
[carbon]
zone = "FRA"
[attribution]
settle = "2 s"
[[budget]]
name = "day"
limit = "1 kWh"
period = "day"
[[upstream]]
name = "llm"
url = "{url}"
gpus = {gpus}
"""


def talk(base: str, model: str, number: int) -> None:
    """Send one request; every third is read as a stream, every fourth is left in the middle."""
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0, timeout=120) as client:
        prompt = f"Number {number}: the difference between power and energy is"
        if number % 4 == 3:
            with client.completions.create(model=model, prompt=prompt, max_tokens=64, stream=True) as stream:
                next(iter(stream))
        elif number % 3 == 0:
            chunks = list(client.completions.create(model=model, prompt=prompt, max_tokens=8, stream=True))
            assert all(chunk.choices for chunk in chunks), "a usage chunk that nobody asked for"
        else:
            answer = client.completions.create(model=model, prompt=prompt, max_tokens=8)
            assert answer.usage is not None


@pytest.mark.parametrize(("gates", "gpus"), [(1, 1), (2, 2)])
def test_requests_idle_and_unattributed_are_the_counter_exactly(
    gates: int, gpus: int, llama: Any, joulegate: Any, prometheus: Any, library: Path, tmp_path: Path
) -> None:
    """Per GPU, in integer microjoules, with streams, whole answers and clients that leave in between."""
    control = Control(tmp_path / "gpus", [Gpu(f"GPU-{number}", watts=0) for number in range(gpus)])
    first = [control.counter(gpu) for gpu in range(gpus)]
    config = CONFIG.format(url=llama.url, gpus=list(range(gpus)))
    with ExitStack() as stack:
        running = stack.enter_context(joulegate(config, gates=gates, env=control.environment(library)))
        scraper = stack.enter_context(prometheus(running.admin))
        with ExitStack() as powered:
            for gpu in range(gpus):
                follow = control.follow(gpu, [llama.pid], idle_watts=60 + 10 * gpu, watts_per_core=200)
                powered.enter_context(follow)
            with ThreadPoolExecutor(4) as clients:
                list(clients.map(lambda number: talk(running.proxy, llama.model, number), range(PROMPTS)))
        for gpu in range(gpus):
            control.power(gpu, 0)
        drawn = [control.counter(gpu) - first[gpu] for gpu in range(gpus)]
        status = running.settled(PROMPTS)
        _check_status(status, drawn)
        _check_prometheus(scraper, drawn)
        requests = [device["requests"] for device in status["devices"]]
        assert sum(total["energy"] for total in status["totals"]) == sum(requests)
        assert all(0 < part < whole for part, whole in zip(requests, drawn, strict=True))
    _check_ledger(running.ledger, drawn)


def _check_status(status: dict[str, Any], drawn: list[int]) -> None:
    devices = sorted(status["devices"], key=lambda device: device["device"]["index"])
    assert [device["measured"] for device in devices] == drawn
    for device in devices:
        unattributed = sum(energy for _, energy in device["unattributed"])
        assert device["requests"] + device["idle"] + unattributed == device["measured"]
        assert device["conservation_error"] == 0


def _check_prometheus(scraper: Any, drawn: list[int]) -> None:
    from_counter = {str(gpu): energy / 1e6 for gpu, energy in enumerate(drawn)}
    scraper.shows("joulegate_gpu_energy_joules_total", from_counter)
    scraper.shows("sum by (gpu) (joulegate_gpu_attributed_joules_total)", from_counter)
    scraper.shows("sum(joulegate_requests_total)", {"": PROMPTS})
    assert set(scraper.values("joulegate_conservation_error_microjoules", "gpu").values()) == {0.0}
    kwh = scraper.values("sum(joulegate_energy_kwh_total) * 3.6e6", "")
    joules = scraper.values("sum(joulegate_energy_joules_total)", "")
    assert kwh[""] == pytest.approx(joules[""], rel=1e-12)


def _check_ledger(path: Path, drawn: list[int]) -> None:
    """The file that is left says the same."""
    with closing(LedgerReader.open(str(path))) as ledger:
        books = sorted(ledger.books(), key=lambda books: books.device)
        assert [book.counter for book in books] == drawn
        assert ledger.count() == PROMPTS
