"""What every test may use: the programs of the machine, and where the checkout is."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from joulegate.testing.nvml import build

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Finds a program of the machine; without it the test is left out, or fails where CI=true."""

    def find(name: str) -> str:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found:
            return found
        message = f"{name} is not installed (requirements/install-system)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)

    return find


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Path:
    """The fake NVIDIA driver library, compiled against NVIDIA's own header."""
    program("cc")
    return build(tmp_path_factory.mktemp("nvml"))
