"""Opens the energy source; a host without one is metered as far as it goes."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from joulegate.config import Config
from joulegate.config.upstreams import addresses
from joulegate.errors import SourceUnavailable
from joulegate.log import logger
from joulegate.meter.sampling.calibrated import calibrated
from joulegate.meter.sampling.calibration import configured
from joulegate.meter.sampling.choose import choose
from joulegate.model import Device, DeviceId, EnergySample
from joulegate.ports import EnergySource
from joulegate.ports.plugins import Context

FIRST_TRY, LAST_TRY = 1.0, 60.0
"""Seconds between tries to find a source that works."""


class Energy(Struct, frozen=True):
    """The source in use, or why there is none."""

    name: str | None
    source: EnergySource
    """What is read: its readings are corrected by a calibration, if there is one."""
    driver: EnergySource
    """The same without corrections; it has the optional abilities."""
    devices: Sequence[Device]
    passed_over: tuple[tuple[str, str], ...] = ()
    problem: str = ""


class Nothing:
    """The source of a host where none works: it has no devices."""

    def open(self) -> Sequence[Device]:
        """Find no devices."""
        return ()

    def read(self, device: DeviceId) -> EnergySample:
        """Never called, for there are no devices."""
        raise SourceUnavailable(f"there is no device {device}", code="no_source")

    def close(self) -> None:
        """Let go of nothing."""


def opened(config: Config) -> Energy:
    """Open the configured source. Blocks.

    Only wrong options and a wrong calibration are errors: requests need no source.
    """
    corrections = configured(config.energy.calibration)
    try:
        choice = choose(config.energy.source, config.energy.options, Context(addresses(config)))
    except SourceUnavailable as error:
        return Energy(None, Nothing(), Nothing(), (), problem=str(error))
    driver, choice = choice.source, calibrated(choice, corrections)
    return Energy(choice.name, choice.source, driver, choice.devices, choice.passed_over)


async def until_a_source_works(config: Config, stop: asyncio.Event) -> None:
    """Stop the meter once a source works: it is started anew and finds it."""
    wait = FIRST_TRY
    while True:
        await asyncio.sleep(wait)
        wait = min(wait * 2, LAST_TRY)
        energy = await asyncio.to_thread(opened, config)
        if energy.name is not None:
            energy.source.close()
            logger("meter").info("source.recovered", source=energy.name)
            stop.set()
            return
