"""Prepares a run on one host: what can be wrong is found out, and what to run is written down."""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from joulegate.app.problems import port_taken
from joulegate.app.protocols import check_routes
from joulegate.child import ChildSpec
from joulegate.config import Config
from joulegate.config.addresses import Address
from joulegate.config.environment import changed, tenant_keys
from joulegate.processes import processors
from joulegate.rundir import CONFIG, PLAN, RunDirectory, run_directory
from joulegate.supervisor import SIGNALS, RunPlan
from joulegate.tls import context
from joulegate.units import seconds

FLUSH = 15.0
"""Seconds that a process has to end once its last request has."""


def prepared(config: Config, *, logging: Sequence[str], banner: Sequence[str]) -> RunDirectory:
    """Return the directory of a run that may begin. Raises ``ConfigError`` if it would end at once."""
    tenant_keys(config)  # a missing key or file is told here, not by a child
    for upstream in config.upstream:
        context(upstream.ca_file)
    check_routes(config)
    _probe("listen.address", config.listen.address, "--listen")
    _probe("listen.admin", config.listen.admin, "--admin")
    folder = run_directory(changed({}))
    folder.write(CONFIG, msgspec.msgpack.encode(config))
    plan = RunPlan(
        tuple(_children(config, folder.path, logging)),
        grace=seconds(config.timeout.drain) + FLUSH,
        banner=(*banner, str(folder.path)) if banner else (),
    )
    folder.write(PLAN, msgspec.msgpack.encode(plan))
    return folder


def become_supervisor(folder: RunDirectory, logging: Sequence[str]) -> NoReturn:
    """Replace this program by the supervisor, which needs a third of the memory."""
    os.set_inheritable(folder.lock, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the supervisor handles them
    arguments = (sys.executable, "-m", "joulegate.supervisor", str(folder.path), str(folder.lock), *logging)
    os.execve(sys.executable, arguments, changed({}))  # noqa: S606 (this interpreter)


def _children(config: Config, folder: Path, logging: Sequence[str]) -> Sequence[ChildSpec]:
    names = ["meter", *(f"gate-{number + 1}" for number in range(config.listen.gates or processors()))]
    return [
        ChildSpec(
            name=name,
            argv=(
                sys.executable,
                "-m",
                "joulegate.app.process",
                name.partition("-")[0],
                str(folder),
                *logging,
            ),
            stage=int(name != "meter"),
        )
        for name in names
    ]


def _probe(key: str, address: Address, option: str) -> None:
    """See that an address is free: gates share theirs, so a second joulegate there would go unnoticed."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with port_taken(key, address, option), socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address.host, address.port))
