"""The board against what it will show: two real models behind joulegate, scraped by a real Prometheus."""

import base64
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from joulegate.testing.nvml import Control, Gpu

pytestmark = pytest.mark.e2e

CONFIG = """
[carbon]
zone = "FRA"
[attribution]
settle = "2 s"
[[budget]]
name = "energy"
limit = "1 kWh"
period = "day"
[[budget]]
name = "carbon"
limit = "1 kg"
period = "month"
[[upstream]]
name = "text"
url = "{text}"
gpus = [0]
[[upstream]]
name = "images"
url = "{images}"
models = ["terrain*"]
gpus = [0]
"""


def test_every_query_of_the_board_returns_data(
    llama: Any, images: str, joulegate: Any, prometheus: Any, library: Path, tmp_path: Path,
    board_queries: list[tuple[str, str]], eventually: Callable[..., Any],
) -> None:  # fmt: skip
    """No panel is empty for a user with two models, a zone and budgets, and every value is finite."""
    control = Control(tmp_path / "gpu", [Gpu("GPU-0", watts=50)])
    config = CONFIG.format(text=llama.url, images=images)
    with (
        joulegate(config, env=control.environment(library)) as running,
        prometheus(running.admin) as scraper,
        control.follow(0, [llama.pid], idle_watts=50, watts_per_core=100),
        openai.OpenAI(base_url=f"{running.proxy}/v1", api_key="none", max_retries=0, timeout=120) as client,
    ):
        for total in (4, 8):  # a rate needs a series that was there before
            for _ in range(2):
                client.completions.create(model=llama.model, prompt="The grid", max_tokens=4)
                image = client.images.generate(model="terrain-diffusion", prompt="hills", size="64x64")
                assert base64.b64decode(image.data[0].b64_json).startswith(b"\x89PNG")
            running.settled(total)

        def empty() -> list[str]:
            return [query for _, query in board_queries if not _finite(scraper.query(query))]

        eventually(lambda: not empty() or None, "every panel has data")
        assert empty() == []


def _finite(found: list[dict[str, Any]]) -> bool:
    return bool(found) and all(math.isfinite(float(one["value"][1])) for one in found)
