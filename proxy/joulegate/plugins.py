"""Plug-ins: the folder is the registry, and one function builds them all.

The name in the configuration is the name of a module; the module has one class ``Plugin`` and, if it takes
settings, a frozen struct ``Options``. Modules are listed without importing them, and only the ones in use
are imported. Names that no folder knows are looked up in the entry points of the group
``joulegate.<kind>``, for example ``joulegate.sources``.
"""

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Generic, TypeGuard, TypeVar

import msgspec

from joulegate.config.lines import Path
from joulegate.config.problems import Problem, dotted, near
from joulegate.config.shape import parsed_as
from joulegate.config.structs import Config
from joulegate.errors import ConfigError, JoulegateError, PluginError
from joulegate.ports import CarbonSource, EnergySource, Exporter, InferenceProtocol
from joulegate.ports.plugins import BuiltFromContext, Context, OptionsModule, PluginModule
from joulegate.ports.servers import Server

T = TypeVar("T")

NOT_PLUGINS = {"catalogue", "emissions"}
"""Public modules of those packages that help plug-ins but are none."""
NO_CONTEXT = Context()


class PluginKind(Generic[T]):
    """One kind of plug-in: where its modules are, where its options stand, and what each must offer."""

    def __init__(
        self, name: str, package: str, options: Path, port: str, keeps: Callable[[object], TypeGuard[T]]
    ) -> None:
        self.name = name
        self.package = package
        self.options = options
        """Table of the configuration that has the options of each plug-in by its name."""
        self.port = port
        """Name of the Protocol in ``joulegate.ports``."""
        self.keeps = keeps
        """Whether an object offers what the port asks for."""

    @property
    def group(self) -> str:
        """Of entry points."""
        return f"joulegate.{self.name}"


def _is_protocol(plugin: object) -> TypeGuard[InferenceProtocol]:
    return isinstance(plugin, InferenceProtocol)


def _is_server(plugin: object) -> TypeGuard[Server]:
    return isinstance(plugin, Server)


def _is_source(plugin: object) -> TypeGuard[EnergySource]:
    return isinstance(plugin, EnergySource)


def _is_carbon(plugin: object) -> TypeGuard[CarbonSource]:
    return isinstance(plugin, CarbonSource)


def _is_exporter(plugin: object) -> TypeGuard[Exporter]:
    return isinstance(plugin, Exporter)


PROTOCOLS = PluginKind("protocols", "joulegate.protocols", ("protocols",), "InferenceProtocol", _is_protocol)
SERVERS = PluginKind("servers", "joulegate.servers", ("servers",), "servers.Server", _is_server)
SOURCES = PluginKind("sources", "joulegate.sources", ("energy", "options"), "EnergySource", _is_source)
CARBON = PluginKind("carbon", "joulegate.carbon", ("carbon", "options"), "CarbonSource", _is_carbon)
EXPORTERS = PluginKind("exporters", "joulegate_exporters", ("exporter",), "Exporter", _is_exporter)
KINDS: tuple[PluginKind[Any], ...] = (PROTOCOLS, SERVERS, SOURCES, CARBON, EXPORTERS)


def names(kind: PluginKind[Any]) -> list[str]:
    """Return the names of all plug-ins of a kind, built-in and third-party, without importing any."""
    return sorted({*_built_in(kind), *(point.name for point in entry_points(group=kind.group))})


def build(
    kind: PluginKind[T], name: str, options: Mapping[str, Any] | None = None, context: Context = NO_CONTEXT
) -> T:
    """Return a plug-in with its options.

    Raises ``PluginError`` for one that does not exist, is offered twice, cannot be imported or built, or
    does not offer what its port asks for, and ``ConfigError`` that names the key for wrong options.
    """
    module = load(kind, name)
    place = (*kind.options, name)
    values, wrong = _options(module, place, options or {})
    if wrong:
        raise ConfigError("\n".join(f"{dotted(problem.path)}: {problem.what}" for problem in wrong))
    try:
        plugin = _built(module, values, context)
    except ConfigError as error:
        named = str(error).startswith(f"{kind.options[0]}.")
        raise error if named else ConfigError(f"{dotted(place)}: {error}") from error
    except JoulegateError:
        raise
    except Exception as error:
        raise PluginError(f"{kind.name}: {name!r} cannot be built: {_reason(error)}") from error
    if not kind.keeps(plugin):
        raise PluginError(
            f"{kind.name}: {name!r} is no plug-in of this kind: "
            f"its Plugin lacks methods or attributes of joulegate.ports.{kind.port}"
        )
    return plugin


def build_all(kind: PluginKind[T], context: Context = NO_CONTEXT) -> tuple[dict[str, T], list[PluginError]]:
    """Return every plug-in of a kind that can be built without options, and why the others cannot."""
    built: dict[str, T] = {}
    broken = []
    for name in names(kind):
        try:
            built[name] = build(kind, name, context=context)
        except PluginError as error:
            broken.append(error)
    return built, broken


def load(kind: PluginKind[Any], name: str) -> PluginModule:
    """Import the module of one plug-in. Raises ``PluginError`` that names the choices."""
    points = list(entry_points(group=kind.group, name=name))
    built_in = name in _built_in(kind)
    if len(points) + built_in > 1:
        raise PluginError(f"{kind.name}: {name!r} is offered more than once: {_offers(points, built_in)}")
    if not built_in and not points:
        known = names(kind)
        raise PluginError(
            f"{kind.name}: no plug-in {name!r}{near(name, known)}; there are {', '.join(known)}"
        )
    path = f"{kind.package}.{name}" if built_in else points[0].module
    try:
        module = import_module(path)
    except Exception as error:
        raise PluginError(
            f"{kind.name}: {name!r} cannot be imported from {path}: {_reason(error)}"
        ) from error
    if not isinstance(module, PluginModule):
        raise PluginError(f"{kind.name}: {path} has no class Plugin")
    return module


def option_problems(config: Config) -> Iterator[Problem]:
    """Return what is wrong with the options of plug-ins, each problem at its key. Imports those named."""
    for kind, tables in (
        (SOURCES, config.energy.options),
        (CARBON, config.carbon.options),
        (EXPORTERS, config.exporter),
    ):
        for name, values in tables.items():
            if name not in names(kind):
                continue  # told with the names there are
            place = (*kind.options, name)
            try:
                yield from _options(load(kind, name), place, values)[1]
            except PluginError as error:
                yield Problem(place, str(error))


def _built_in(kind: PluginKind[Any]) -> set[str]:
    spec = find_spec(kind.package)
    paths = spec.submodule_search_locations if spec else None
    return {
        module.name
        for module in pkgutil.iter_modules(paths or [])
        if not module.name.startswith("_") and module.name not in NOT_PLUGINS
    }


def _offers(points: Iterable[object], built_in: bool) -> str:
    return ", ".join([*("joulegate itself" for _ in range(built_in)), *(str(point) for point in points)])


def _options(
    module: PluginModule, place: Path, values: Mapping[str, Any]
) -> tuple[msgspec.Struct | None, list[Problem]]:
    """Return the options of a plug-in, ``None`` if it has none, and what is wrong with them."""
    if isinstance(module, OptionsModule):
        return parsed_as(module.Options, values, place)
    return None, [Problem(place, "this plug-in has no options")] if values else []


def _built(module: PluginModule, options: msgspec.Struct | None, context: Context) -> object:
    plugin = module.Plugin
    if isinstance(plugin, BuiltFromContext):
        return plugin.from_context(options, context)
    built: object = plugin() if options is None else plugin(options)
    return built


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
