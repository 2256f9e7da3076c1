"""Tries every energy source of this machine and looks at what its devices give."""

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from joulegate import plugins
from joulegate.cli.figures import power
from joulegate.cli.findings import Finding, Mark
from joulegate.clock import monotonic
from joulegate.config.structs import Config
from joulegate.config.upstreams import addresses
from joulegate.errors import JoulegateError
from joulegate.meter.sampling.choose import Choice, choose, preferred
from joulegate.model import Device, DeviceId, EnergySample, Tier
from joulegate.ports import EnergySource
from joulegate.ports.plugins import Context
from joulegate.units import NANO, Nanoseconds

MADE_UP = "fake"
"""The source that reads no device."""
MEASURED = {Tier.COUNTER, Tier.POWER}
_PATIENCE = 5.0
_WATCH = Nanoseconds(NANO // 2)
"""Time to watch a counter: five steps of the slowest common one (100 ms, H100)."""


class Tried(Struct, frozen=True):
    """What came of all sources."""

    findings: tuple[Finding, ...]
    best: str | None
    """The source that ``auto`` would take."""
    tier: Tier | None


def try_all(config: Config) -> Tried:
    """Open each source, watch its devices, close it again. Takes about a second."""
    findings: list[Finding] = []
    chosen: Choice | None = None
    for name in _names(config):
        try:
            choice = choose(name, config.energy.options, Context(addresses(config)), patience=_PATIENCE)
        except JoulegateError as error:
            findings.append(Finding(f"source {name}", Mark.NOTE, f"does not work here: {error}"))
            continue
        chosen = chosen or choice
        findings += _devices(choice)
        choice.source.close()
    tiers = [device.tier for device in chosen.devices] if chosen else []
    return Tried(
        tuple(findings), chosen.name if chosen else None, max(tiers, key=list(Tier).index, default=None)
    )


def _names(config: Config) -> Sequence[str]:
    """Return the source that is configured, or all that ``auto`` tries, then those of third parties."""
    if config.energy.source != "auto":
        return [config.energy.source]
    best, _ = preferred()
    return [*best, *(name for name in plugins.names(plugins.SOURCES) if name not in {*best, MADE_UP})]


def _devices(choice: Choice) -> Iterator[Finding]:
    watched = _watched(choice.source, [device.id for device in choice.devices])
    for device in choice.devices:
        yield _device(device, watched.get(device.id, []))


def _watched(source: EnergySource, devices: Sequence[DeviceId]) -> dict[DeviceId, list[EnergySample]]:
    """Read all devices at once for a while; one that hangs gives what it gave until then."""
    samples: dict[DeviceId, list[EnergySample]] = {device: [] for device in devices}
    threads = [
        threading.Thread(target=_watch, args=(source, device, found), daemon=True)
        for device, found in samples.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    return {device: list(found) for device, found in samples.items()}


def _watch(source: EnergySource, device: DeviceId, found: list[EnergySample]) -> None:
    pause = threading.Event()
    end = monotonic() + _WATCH
    while monotonic() < end:
        try:
            found.append(source.read(device))
        except JoulegateError:
            return
        pause.wait(0.005)


def _device(device: Device, samples: Sequence[EnergySample]) -> Finding:
    subject = f"source {device.source}"
    if not samples:
        return Finding(subject, Mark.NOTE, f"{device.id} ({device.name}) cannot be read", device.note)
    mark = Mark.GOOD if device.tier in MEASURED else Mark.NOTE
    parts = [f"{device.id} ({device.name}): {_reading(device.tier)}", _steps(samples)]
    if samples[-1].power is not None:
        parts.append(f"{power(samples[-1].power)} now")
    return Finding(subject, mark, ", ".join(part for part in parts if part), device.note)


def _reading(tier: Tier) -> str:
    return {
        Tier.COUNTER: "energy counter",
        Tier.POWER: "no energy counter, power readings only",
        Tier.ESTIMATE: "MODELLED, not measured",
        Tier.SYNTHETIC: "MADE UP, not measured",
    }[tier]


def _steps(samples: Sequence[EnergySample]) -> str:
    """Return how often the counter moved."""
    period = update_period(samples)
    if period is None:
        return ""
    return f"moves about every {period / 1e6:.0f} ms"


def update_period(samples: Sequence[EnergySample]) -> Nanoseconds | None:
    """Return the mean time between steps of the counter, ``None`` with fewer than two of them."""
    pairs = pairwise(samples)
    edges = [
        after.t for before, after in pairs if after.counter is not None and after.counter != before.counter
    ]
    if len(edges) < 2:
        return None
    return Nanoseconds((edges[-1] - edges[0]) // (len(edges) - 1))
