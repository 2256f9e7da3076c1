"""Finds the energy source: the one that the user names, or the best that works here."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from joulegate import plugins
from joulegate.errors import JoulegateError, PluginError, SourceUnavailable
from joulegate.model import Device
from joulegate.ports import EnergySource
from joulegate.ports.plugins import Context, Preferred

PATIENCE = 10.0
"""Seconds that a source has to open; a driver that hangs must not keep joulegate from starting."""

Settings = Mapping[str, Mapping[str, Any]]
"""Options of each source by its name."""


class Choice(Struct, frozen=True):
    """An open source."""

    name: str
    source: EnergySource
    devices: Sequence[Device]
    passed_over: tuple[tuple[str, str], ...] = ()
    """Better sources that do not work here, each with the reason and the remedy."""

    def reason(self) -> str:
        """Return one sentence for a person: what was chosen, and why nothing better."""
        if not self.passed_over:
            return f"{self.name}: {len(self.devices)} device{'s' * (len(self.devices) != 1)}"
        others = "; ".join(f"{name}: {why}" for name, why in self.passed_over)
        return f"{self.name}, the best that works here ({others})"


def choose(name: str, options: Settings, context: Context, *, patience: float = PATIENCE) -> Choice:
    """Open the source ``name``, or for ``auto`` the best that opens. Blocks; not for an event loop.

    Raises ``SourceUnavailable`` with the remedy (for ``auto``: those of all), ``ConfigError`` for wrong
    options and ``PluginError`` for a name that nobody knows.
    """
    if name != "auto":
        source, devices = _open(name, options.get(name, {}), context, patience)
        return Choice(name, source, devices)
    candidates, passed_over = preferred()
    for candidate in candidates:
        try:
            source, devices = _open(candidate, options.get(candidate, {}), context, patience)
        except (SourceUnavailable, PluginError) as error:
            passed_over.append((candidate, str(error)))
        else:
            return Choice(candidate, source, devices, tuple(passed_over))
    reasons = "; ".join(f"{candidate}: {why}" for candidate, why in passed_over)
    raise SourceUnavailable(f"no energy source works here: {reasons}", code="no_source")


def preferred() -> tuple[list[str], list[tuple[str, str]]]:
    """Return the sources that ``auto`` tries, the best first, and those that are broken with the reason."""
    ranked: list[tuple[int, str]] = []
    broken: list[tuple[str, str]] = []
    for name in plugins.names(plugins.SOURCES):
        try:
            plugin = plugins.load(plugins.SOURCES, name).Plugin
        except PluginError as error:
            broken.append((name, str(error)))
        else:
            if isinstance(plugin, Preferred):
                ranked.append((plugin.order, name))
    return [name for _, name in sorted(ranked)], broken


def _open(
    name: str, options: Mapping[str, Any], context: Context, patience: float
) -> tuple[EnergySource, Sequence[Device]]:
    source = plugins.build(plugins.SOURCES, name, options, context)
    return source, _within(patience, source, name)


def _within(patience: float, source: EnergySource, name: str) -> Sequence[Device]:
    """Open a source in a thread of its own that is left behind if it hangs."""
    outcome: list[Sequence[Device] | Exception] = []

    def attempt() -> None:
        try:
            outcome.append(source.open())
        except Exception as error:  # handed to the caller below
            outcome.append(error)

    thread = threading.Thread(target=attempt, name=f"open {name}", daemon=True)
    thread.start()
    thread.join(patience)
    if not outcome:
        message = f"{name} does not answer within {patience:g} s: its driver hangs (see `dmesg`)"
        raise SourceUnavailable(message, code="stalled")
    if isinstance(outcome[0], JoulegateError):
        raise outcome[0]
    if isinstance(outcome[0], Exception):
        raise SourceUnavailable(f"{name} does not open: {outcome[0]!r}", code="fault") from outcome[0]
    return outcome[0]
