"""Finds the energy source: the one that the user names, or the best that works here."""

import inspect
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from joulegate import plugins
from joulegate.errors import ConfigError, JoulegateError, SourceUnavailable
from joulegate.model import Device
from joulegate.ports import EnergySource

BEST_FIRST = ("nvml", "rapl", "cpu_estimate")
"""Sources that ``auto`` tries: measured before modelled. Made-up ones are never among them."""
PATIENCE = 10.0
"""Seconds that a source has to open; a driver that hangs must not keep joulegate from starting."""

Upstreams = Mapping[str, Sequence[tuple[str, int]]]
"""Host and port of each replica, by upstream."""
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


def choose(name: str, options: Settings, upstreams: Upstreams, *, patience: float = PATIENCE) -> Choice:
    """Open the source ``name``, or for ``auto`` the best that opens. Blocks; not for an event loop.

    Raises ``SourceUnavailable`` with the remedy (for ``auto``: those of all), ``ConfigError`` for wrong
    options and ``PluginError`` for a name that nobody knows.
    """
    if name != "auto":
        source, devices = _open(name, options.get(name, {}), upstreams, patience)
        return Choice(name, source, devices)
    passed_over: list[tuple[str, str]] = []
    for candidate in BEST_FIRST:
        try:
            source, devices = _open(candidate, options.get(candidate, {}), upstreams, patience)
        except SourceUnavailable as error:
            passed_over.append((candidate, str(error)))
        else:
            return Choice(candidate, source, devices, tuple(passed_over))
    reasons = "; ".join(f"{candidate}: {why}" for candidate, why in passed_over)
    raise SourceUnavailable(f"no energy source works here: {reasons}", code="no_source")


def create(name: str, options: Mapping[str, Any], upstreams: Upstreams) -> EnergySource:
    """Return a source with its settings, not yet open. Raises ``ConfigError`` that names the key."""
    module = plugins.load("sources", name)
    settings: list[Any] = []
    if hasattr(module, "Options"):
        try:
            settings.append(msgspec.convert(dict(options), module.Options))
        except msgspec.ValidationError as error:
            raise ConfigError(f"energy.options.{name}: {error}") from error
    elif options:
        raise ConfigError(f"energy.options.{name}: this source has no settings")
    knows_upstreams = "upstreams" in inspect.signature(module.Plugin).parameters
    try:
        source: EnergySource = module.Plugin(
            *settings, **({"upstreams": upstreams} if knows_upstreams else {})
        )
    except ConfigError as error:
        raise ConfigError(f"energy.options.{name}: {error}") from error
    return source


def _open(
    name: str, options: Mapping[str, Any], upstreams: Upstreams, patience: float
) -> tuple[EnergySource, Sequence[Device]]:
    source = create(name, options, upstreams)
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
