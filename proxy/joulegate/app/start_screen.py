"""Finds out what is here when a run begins, for the start-up screen."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from joulegate import __version__
from joulegate.app.carbon import carbon_source
from joulegate.app.energy import Energy, opened
from joulegate.app.mapping import Mapper
from joulegate.config import Config, UpstreamConfig
from joulegate.config.environment import ledger_path
from joulegate.errors import JoulegateError
from joulegate.gateway.servers.survey import survey
from joulegate.meter.state.meter_state import Served, carbon_status
from joulegate.model.banner import Banner, FoundUpstream
from joulegate.ports.servers import ServerIdentity
from joulegate.processes import processors
from joulegate.rundir import CONFIG
from joulegate.units import Nanoseconds


def look(folder: Path) -> Banner | None:
    """Return what is here for the configuration of a run directory.

    ``None``: the configuration is wrong, which the meter finds as well and ends the run.
    """
    config = msgspec.msgpack.decode((folder / CONFIG).read_bytes(), type=Config)
    try:
        return asyncio.run(_look(config))
    except JoulegateError:
        return None


async def _look(config: Config) -> Banner:
    energy = await asyncio.to_thread(opened, config)
    try:
        mapped = await Mapper(config, energy).look()
        return _banner(config, energy, mapped, await survey(config.upstream))
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
