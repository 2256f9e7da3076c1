"""Plug-ins: the folder is the registry.

The name in the configuration is the name of a module; the module has one class ``Plugin``. Modules are
listed without importing them, and only the ones in use are imported. Names that no folder knows are
looked up in the entry points ``joulegate.protocols``, ``joulegate.servers``, ``joulegate.sources``,
``joulegate.carbon`` and ``joulegate.exporters``.
"""

import pkgutil
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType

from joulegate.errors import PluginError

PACKAGES = {
    "protocols": "joulegate.protocols",
    "servers": "joulegate.servers",
    "sources": "joulegate.sources",
    "carbon": "joulegate.carbon",
    "exporters": "joulegate_exporters",
}
"""Kind of plug-in and the package whose public modules are the built-in ones."""

NOT_PLUGINS = {"catalogue", "emissions"}
"""Public modules of those packages that help plug-ins but are none."""


def names(kind: str) -> list[str]:
    """Return the names of all plug-ins of a kind, built-in and third-party, without importing any."""
    return sorted({*_built_in(kind), *(point.name for point in entry_points(group=f"joulegate.{kind}"))})


def load(kind: str, name: str) -> ModuleType:
    """Import the module of one plug-in. Raises ``PluginError`` that names the choices."""
    points = list(entry_points(group=f"joulegate.{kind}", name=name))
    built_in = name in _built_in(kind)
    if len(points) + built_in > 1:
        raise PluginError(f"{kind}: {name!r} is offered more than once: {_offers(points, built_in)}")
    if built_in:
        return import_module(f"{PACKAGES[kind]}.{name}")
    if points:
        return import_module(points[0].module)
    raise PluginError(f"{kind}: no plug-in {name!r}; there are {', '.join(names(kind))}")


def _built_in(kind: str) -> set[str]:
    spec = find_spec(PACKAGES[kind])
    paths = spec.submodule_search_locations if spec else None
    return {
        module.name
        for module in pkgutil.iter_modules(paths or [])
        if not module.name.startswith("_") and module.name not in NOT_PLUGINS
    }


def _offers(points: Iterable[object], built_in: bool) -> str:
    return ", ".join([*("joulegate itself" for _ in range(built_in)), *(str(point) for point in points)])
