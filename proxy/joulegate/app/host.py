"""Builds the processes of one host: a supervisor with a meter and its gates, and the start-up screen."""

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from joulegate import __version__
from joulegate.app.energy import Energy, opened
from joulegate.app.mapping import Mapper
from joulegate.app.meter import carbon_source
from joulegate.app.problems import port_taken
from joulegate.app.protocols import check_routes
from joulegate.child import ChildSpec
from joulegate.config import Config, UpstreamConfig
from joulegate.config.addresses import Address
from joulegate.config.environment import changed, ledger_path, tenant_keys
from joulegate.errors import JoulegateError
from joulegate.gateway.servers.survey import survey
from joulegate.meter.state.meter_state import Served, carbon_status
from joulegate.model.banner import Banner, FoundUpstream
from joulegate.ports.servers import ServerIdentity
from joulegate.processes import processors
from joulegate.rundir import CONFIG, run_directory
from joulegate.supervisor import Supervisor
from joulegate.tls import context
from joulegate.units import Nanoseconds, seconds

FLUSH = 15.0
"""Seconds that a process has to end once its last request has."""


def run(config: Config, *, logging: Sequence[str], banner: Callable[[Banner], None]) -> int:
    """Run until told to stop; return the exit code."""
    tenant_keys(config)  # a missing key or file is told here, not by a child
    for upstream in config.upstream:
        context(upstream.ca_file)
    check_routes(config)
    _probe("listen.address", config.listen.address, "--listen")
    _probe("listen.admin", config.listen.admin, "--admin")
    environment = changed({})
    with run_directory(environment) as folder:
        folder.write(CONFIG, msgspec.msgpack.encode(config))
        supervisor = Supervisor(
            _children(config, folder.path, logging),
            grace=seconds(config.timeout.drain) + FLUSH,
            environment=environment,
            inherit=[folder.lock],
        )
        return asyncio.run(_supervise(supervisor, config, banner))


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


async def _supervise(supervisor: Supervisor, config: Config, banner: Callable[[Banner], None]) -> int:
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(_look(config, banner))
        code = await supervisor.run()
        looking.cancel()
    return code


async def _look(config: Config, banner: Callable[[Banner], None]) -> None:
    """Show what is here. Requests pass meanwhile: a driver that hangs holds up nothing but the screen.

    What is wrong with the configuration is told by the meter, which finds the same and ends the run.
    """
    with suppress(JoulegateError):
        await _show(config, banner)


async def _show(config: Config, banner: Callable[[Banner], None]) -> None:
    energy = await asyncio.to_thread(opened, config)
    try:
        mapped = await Mapper(config, energy).look()
        banner(_banner(config, energy, mapped, await survey(config.upstream)))
    finally:
        await asyncio.to_thread(energy.source.close)


def _banner(
    config: Config,
    energy: Energy,
    mapped: Sequence[Served],
    answers: Sequence[Sequence[ServerIdentity | None]],
) -> Banner:
    carbon = carbon_source(config.carbon)
    return Banner(
        version=__version__,
        proxy=f"http://{config.listen.address}",
        admin=f"http://{config.listen.admin}",
        gates=config.listen.gates or processors(),
        upstreams=tuple(
            _found(upstream, served, servers)
            for upstream, served, servers in zip(config.upstream, mapped, answers, strict=True)
        ),
        source=energy.name,
        devices=tuple(energy.devices),
        passed_over=energy.passed_over or ((("energy", energy.problem),) if energy.problem else ()),
        carbon=carbon_status(carbon.intensity(Nanoseconds(0))) if carbon else None,
        ledger=ledger_path(config),
    )


def _found(
    upstream: UpstreamConfig, served: Served, servers: Sequence[ServerIdentity | None]
) -> FoundUpstream:
    here = [server for server in servers if server is not None]
    server = next((one for one in here if one.kind), here[0] if here else None)
    return FoundUpstream(
        name=upstream.name,
        url=", ".join(place.text() for place in upstream.endpoints),
        takes=_takes(upstream),
        server=(server.text() or None) if server else None,
        models=tuple(dict.fromkeys(model for one in here for model in one.models)),
        devices=served.devices or None,
        how=served.note,
        up=server is not None,
        away=tuple(
            place.address() for place, one in zip(upstream.endpoints, servers, strict=True) if one is None
        ),
    )


def _takes(upstream: UpstreamConfig) -> str:
    rules = [upstream.path, upstream.host and f"host {upstream.host}"]
    rules += [f"models {', '.join(upstream.models)}"] if upstream.models else []
    return " and ".join(rule for rule in rules if rule) or "everything else"


def _probe(key: str, address: Address, option: str) -> None:
    """See that an address is free: gates share theirs, so a second joulegate there would go unnoticed."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with port_taken(key, address, option), socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address.host, address.port))
