"""The composition root: configuration in, running services out. It builds objects and holds no logic."""

from collections.abc import Callable, Sequence
from pathlib import Path

from joulegate.config import Config
from joulegate.config.environment import calculate_alone
from joulegate.model.banner import Banner


def run(config: Config, *, logging: Sequence[str], banner: Callable[[Banner], None]) -> int:
    """Run one meter and its gates until told to stop; return the exit code.

    ``logging`` are form and level of the log, for the processes that it starts.
    """
    from joulegate.app.host import run  # late: the commands load only what they run

    return run(config, logging=logging, banner=banner)


def run_gate(config: Config, *, socket: Path) -> int:
    """Run one gate until told to stop; return the exit code."""
    from joulegate.app.gate import run

    return run(config, socket)


def run_meter(config: Config, *, socket: Path) -> int:
    """Run the meter until told to stop; return the exit code."""
    calculate_alone()
    from joulegate.app.meter import run

    return run(config, socket)
