"""Builds one gate process."""

import asyncio
from contextlib import suppress
from pathlib import Path

import uvloop

from joulegate.app.ending import told_to_stop
from joulegate.app.memory import collect_seldom
from joulegate.app.problems import port_taken
from joulegate.app.protocols import protocols
from joulegate.channel.identity import clock_id, gate_name
from joulegate.channel.sender import EventSender
from joulegate.channel.transports import unix_connector
from joulegate.config import Config
from joulegate.config.addresses import Address
from joulegate.config.environment import tenant_keys
from joulegate.gateway.gate import Gate
from joulegate.gateway.policy.settings import GateSettings, settings_from

FAREWELL = 2.0
"""Seconds that a stopping gate waits for the meter to have its last events."""


def run(config: Config, socket: Path) -> int:
    """Run until told to stop; return the exit code."""
    settings = settings_from(config, tenant_keys(config))
    uvloop.run(_serve(settings, config.listen.address, socket))
    return 0


async def _serve(settings: GateSettings, address: Address, socket: Path) -> None:
    sender = EventSender(unix_connector(socket), lambda: gate.report(), clock_id=clock_id())
    gate = Gate(settings, protocols(), sender, gate_id=gate_name())
    with port_taken("listen.address", address, "--listen"):
        await gate.start(address.host, address.port, reuse_port=True)
    gate.attend()
    collect_seldom()
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(sender.run())
        with told_to_stop(group) as stop:
            await stop.wait()
            await gate.drain(settings.timeouts.drain)
        with suppress(TimeoutError):  # the meter is gone; the next one cannot get what dies with this process
            async with asyncio.timeout(FAREWELL):
                await sender.flushed()
        sending.cancel()
