"""Helpers of the configuration's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from joulegate.config.load import load
from joulegate.errors import ConfigError

GOOD = """\
[listen]
address = "127.0.0.1:8080"

[[upstream]]
name = "text"
url = "http://127.0.0.1:8000"

[[upstream]]
name = "image"
url = "http://127.0.0.1:8001"
path = "/image"
gpus = [0, "GPU-1"]

[carbon]
zone = "FRA"

[[budget]]
name = "all"
limit = "40 kWh"
match = { upstream = "text" }
"""


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "joulegate.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def refusal(written: Callable[[str], Path]) -> Callable[[str], list[str]]:
    """Give the lines of the refusal of a text, without the folder."""

    def refuse(text: str) -> list[str]:
        path = written(text)
        with pytest.raises(ConfigError) as refused:
            load(path)
        return str(refused.value).replace(str(path.parent) + "/", "").splitlines()

    return refuse
