"""Builds the meter process."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import uvloop
from aiohttp import web

from joulegate import attribution, plugins
from joulegate.app.carbon import carbon_source
from joulegate.app.ending import told_to_stop
from joulegate.app.energy import Energy, opened, until_a_source_works
from joulegate.app.mapping import Mapper
from joulegate.app.memory import collect_seldom
from joulegate.app.problems import port_taken
from joulegate.budgets.windows import Budgets
from joulegate.channel.identity import boot, clock_id
from joulegate.channel.receiver import EventServer
from joulegate.channel.transports import UnixListener
from joulegate.config import Config
from joulegate.config.environment import ledger_path
from joulegate.ledger.sqlite import Ledger
from joulegate.log import logger
from joulegate.meter.admin.api import application
from joulegate.meter.meter import Deliver, Meter
from joulegate.meter.recording.recorder import Recorder
from joulegate.meter.sampling.foreign_processes import ForeignProcesses
from joulegate.meter.sampling.sampler import Sampler, Sampling
from joulegate.meter.state.meter_state import MeterSetup, Served
from joulegate.ports import Exporter, ProcessObserver

YIELDING = 10
"""Niceness: where gates and meter share a processor, traffic comes first. Readings carry their own time."""


def run(config: Config, socket: Path) -> int:
    """Run until told to stop; return the exit code."""
    collect_seldom()
    os.nice(YIELDING)
    uvloop.run(_serve(config, socket))
    return 0


async def _serve(config: Config, socket: Path) -> None:
    energy = await asyncio.to_thread(opened, config)
    chosen = [device.id for device in energy.devices]
    logger("meter").info(
        "source.chosen", source=energy.name, devices=chosen, passed_over=dict(energy.passed_over)
    )
    mapper = Mapper(config, energy)
    served = await mapper.look()
    ledger = Ledger.open(ledger_path(config), keep=config.ledger.keep_requests)
    exporters = _exporters(config)
    setup = _setup(config, energy, served)
    setups = mapper.setups
    attributor = attribution.build(
        config.attribution.method,
        setups,
        setup.devices,
        settle=config.attribution.settle,
        idle_power=ledger.reader.idle_power(),
    )
    meter = Meter(
        setup,
        attributor,
        ledger,
        sampler=lambda deliver: _sampler(config, energy, mapper, deliver),
        exporters=exporters,
        budgets=Budgets(config.budget),
        carbon=carbon_source(config.carbon),
    )
    recorder = Recorder(
        meter.settlement, setup.devices, setups, method=setup.method, health=attributor.health
    )
    server = EventServer(UnixListener(socket), meter, clock_id=clock_id())
    runner = web.AppRunner(application(meter, ledger.reader, _page(exporters), recorder), access_log=None)
    await runner.setup()
    try:
        admin = config.listen.admin
        with port_taken("listen.admin", admin, "--admin"):
            await web.TCPSite(runner, admin.host, admin.port).start()
        await server.start()
        async with asyncio.TaskGroup() as group:
            with told_to_stop(group, server.alone) as stop:
                tasks = [group.create_task(mapper.watch(meter.assign))]
                if energy.problem:
                    tasks.append(group.create_task(until_a_source_works(config, stop)))
                await meter.run(stop, server.settled, server.status)
                for task in tasks:
                    task.cancel()
    finally:
        await server.stop()
        await runner.cleanup()


def _setup(config: Config, energy: Energy, served: Sequence[Served]) -> MeterSetup:
    """Return what is known before the meter begins."""
    return MeterSetup(
        devices=tuple(energy.devices),
        upstreams=tuple(served),
        method=config.attribution.method if config.attribution.method != "auto" else attribution.BEST,
        pue=config.carbon.pue,
        degraded=energy.problem,
        boot=boot(),
        models=config.model,
    )


def _sampler(config: Config, energy: Energy, mapper: Mapper, deliver: Deliver) -> Sampling:
    """Return what reads the devices; and looks who uses them, where their source can tell."""
    sampler = Sampler(
        energy.source, energy.devices, deliver, period=config.energy.period, deadline=config.energy.deadline
    )
    if not isinstance(energy.driver, ProcessObserver):
        return sampler
    return ForeignProcesses(sampler, energy.driver, energy.devices, mapper.owned, deliver)


def _exporters(config: Config) -> list[Exporter]:
    return [plugins.build(plugins.EXPORTERS, name, config.exporter.get(name)) for name in config.exporters]


def _page(exporters: Sequence[Exporter]) -> Exporter | None:
    """Return the exporter behind ``/metrics``: the first that has a page."""
    return next((exporter for exporter in exporters if exporter.content_types), None)
