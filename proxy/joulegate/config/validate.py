"""Whether values that are right by themselves make sense together: references, names, doubles. Pure.

Names of plug-ins are checked against those handed in, because this room does not know the plug-ins.
"""

from collections.abc import Collection, Iterator, Mapping

from joulegate.config import routes, tasks, upstreams
from joulegate.config.lines import Path
from joulegate.config.problems import Problem
from joulegate.config.rules import one_of, unique
from joulegate.config.structs import Config

Plugins = Mapping[str, Collection[str]]
"""Names of the plug-ins there are, by kind; a kind that is missing is not checked."""


def problems(config: Config, plugins: Plugins) -> list[Problem]:
    """Return everything that is wrong with the values."""
    return [
        *upstreams.problems(config, plugins.get("servers")),
        *_listen(config),
        *_plugins(config, plugins),
        *routes.problems(config, sorted({*plugins.get("protocols", ()), *plugins.get("servers", ())})),
        *tasks.problems(config),
        *_budgets(config),
        *unique("tenant", "name", [tenant.name for tenant in config.tenant]),
    ]


def _listen(config: Config) -> Iterator[Problem]:
    listen = config.listen
    if listen.address == listen.admin and listen.admin.port:
        yield Problem(
            ("listen", "admin"), f"{str(listen.admin)!r} is also listen.address: give it a port of its own"
        )


def _plugins(config: Config, plugins: Plugins) -> Iterator[Problem]:
    energy = config.energy
    if "sources" in plugins:
        yield from one_of(("energy", "source"), energy.source, ["auto", *plugins["sources"]])
        for source in energy.options:
            yield from one_of(("energy", "options", source), source, plugins["sources"])
    if "rules" in plugins:
        yield from one_of(("attribution", "method"), config.attribution.method, ["auto", *plugins["rules"]])
    if "carbon" in plugins:
        yield from one_of(("carbon", "source"), config.carbon.source, plugins["carbon"])
        for source in config.carbon.options:
            yield from one_of(("carbon", "options", source), source, plugins["carbon"])
    for index, exporter in enumerate(config.exporters):
        if "exporters" in plugins:
            yield from one_of(("exporters", index), exporter, plugins["exporters"])
    for exporter in config.exporter:
        if "exporters" in plugins:
            yield from one_of(("exporter", exporter), exporter, plugins["exporters"])


def _budgets(config: Config) -> Iterator[Problem]:
    for index, budget in enumerate(config.budget):
        at: Path = ("budget", index, "match")
        if budget.match.upstream is not None:
            upstreams = [upstream.name for upstream in config.upstream]
            yield from one_of((*at, "upstream"), budget.match.upstream, upstreams)
        if budget.match.tenant is not None:
            tenants = [tenant.name for tenant in config.tenant]
            yield from one_of((*at, "tenant"), budget.match.tenant, tenants)
    yield from unique("budget", "name", [budget.name for budget in config.budget])
