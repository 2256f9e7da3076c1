import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from joulegate.testing.nvml import Control, Gpu, load


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
