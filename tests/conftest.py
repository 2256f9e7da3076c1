"""What every test may use: the programs of the machine, and where the checkout is."""

import ctypes
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from joulegate.testing.nvml import Control, Gpu, build, load

ROOT = Path(__file__).parent.parent

# How long an example takes says how busy the machine is, nothing of the code.
settings.register_profile("joulegate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("joulegate")

# A background job of a shell ignores Ctrl-C, and so would every program that a test starts and sends it to.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
MACROS = {
    "$__rate_interval": "1m",
    "$__range": "5m",
    "$job": ".+",
    "$instance": ".+",
    "$task": ".+",
    "$model": ".+",
}


@pytest.fixture(autouse=True)
def _plain_logging() -> Iterator[None]:
    """A command that a test runs in this process sets up logging; the next test finds it as it was."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Finds a program of the machine; without it the test is left out, or fails where CI=true."""

    def find(name: str) -> str:
        own = Path(sys.executable).parent  # programs that pip installed, whether or not the venv is active
        found = shutil.which(name, path=f"{own}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
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


@pytest.fixture(scope="session")
def grafana(root: Path) -> Path:
    return root / "grafana"


@pytest.fixture(scope="session")
def board(grafana: Path) -> dict[str, Any]:
    """The board as committed."""
    return json.loads((grafana / "dashboards" / "energy-at-a-glance.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def board_queries(board: dict[str, Any]) -> list[tuple[str, str]]:
    """Title and query of every target, as Grafana would send it with all variables at All."""
    return [(panel["title"], plain(one["expr"])) for panel in board["panels"] for one in panel["targets"]]


def plain(query: str) -> str:
    """Put a value in the place of every variable and macro."""
    for macro, value in MACROS.items():
        query = query.replace(macro, value)
    return query


@pytest.fixture(scope="session")
def loaded(library: Path) -> ctypes.CDLL:
    return load(library)


@pytest.fixture
def fake(tmp_path: Path, loaded: ctypes.CDLL) -> Iterator[Callable[..., Control]]:
    """Gives a control of these GPUs, seen by this process until the test ends."""
    with ExitStack() as stack:

        def start(*gpus: Gpu, driver: str = "580.95.05") -> Control:
            control = Control(tmp_path / "control", gpus or [Gpu("GPU-a")], driver=driver)
            return stack.enter_context(control.enter(loaded))

        yield start
