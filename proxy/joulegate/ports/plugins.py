"""What every kind of plug-in has in common: how it is built, and what it may ask of joulegate."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct


class Context(Struct, frozen=True):
    """What joulegate tells a plug-in that needs to know more than its own options."""

    upstreams: Mapping[str, Sequence[tuple[str, int]]] = {}
    """Host and port of each replica, by upstream."""


@runtime_checkable
class PluginModule(Protocol):
    """A module with one class ``Plugin``, called with its options if it has any, else with nothing."""

    Plugin: Any


@runtime_checkable
class OptionsModule(PluginModule, Protocol):
    """A plug-in with settings: a frozen msgspec struct named ``Options``."""

    Options: type[Struct]


@runtime_checkable
class BuiltFromContext(Protocol):
    """Optional ability of a class ``Plugin``: it is built by this method, and not by calling the class."""

    def from_context(self, options: Any, context: Context) -> object:
        """Return the plug-in; a class method. ``options`` is ``None`` if the module has no ``Options``."""
        ...


@runtime_checkable
class Preferred(Protocol):
    """Optional ability of a source's class ``Plugin``: it is tried where the user names no source."""

    order: int
    """The lowest is tried first: measured before modelled. Those of joulegate: 10 nvml, 20 rapl,
    30 cpu_estimate."""
