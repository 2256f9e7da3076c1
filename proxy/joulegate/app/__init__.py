"""The composition root: configuration in, running services out. It builds objects and holds no logic."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from joulegate.config import Config
from joulegate.config.environment import calculate_alone, changed
from joulegate.supervisor import supervise


def run(config: Config, *, logging: Sequence[str], banner: Sequence[str]) -> NoReturn:
    """Become the supervisor of one meter and its gates.

    ``logging`` are form and level of the log, ``banner`` the program that shows what is here, if any.
    """
    from joulegate.app import host  # late: the commands load only what they run

    host.become_supervisor(host.prepared(config, logging=logging, banner=banner), logging)


def run_beside(config: Config, *, logging: Sequence[str], banner: Sequence[str]) -> int:
    """Supervise one meter and its gates within this program until told to stop; return the exit code."""
    from joulegate.app import host

    return supervise(host.prepared(config, logging=logging, banner=banner), changed({}))


def run_gate(config: Config, *, socket: Path) -> int:
    """Run one gate until told to stop; return the exit code."""
    from joulegate.app.gate import run

    return run(config, socket)


def run_meter(config: Config, *, socket: Path) -> int:
    """Run the meter until told to stop; return the exit code."""
    calculate_alone()
    from joulegate.app.meter import run

    return run(config, socket)
