"""Whether values that are right by themselves make sense together: references, names, doubles. Pure.

Names of plug-ins are checked against those handed in, because this room does not know the plug-ins.
"""

from collections.abc import Collection, Iterator, Mapping

from joulegate.config import upstreams
from joulegate.config.lines import Path
from joulegate.config.problems import Problem, one_of, unique
from joulegate.config.structs import Config, PlacesConfig, TaskConfig

PLAIN = "plain"
"""The dialect of those whose clients read a line of text."""
_CONDITIONS = ("path", "model", "header", "tenant", "upstream")
"""What a ``[[task]]`` may ask for."""

Plugins = Mapping[str, Collection[str]]
"""Names of the plug-ins there are, by kind; a kind that is missing is not checked."""


def problems(config: Config, plugins: Plugins) -> list[Problem]:
    """Return everything that is wrong with the values."""
    return [
        *upstreams.problems(config, plugins.get("servers")),
        *_listen(config),
        *_plugins(config, plugins),
        *_routes(config, sorted({*plugins.get("protocols", ()), *plugins.get("servers", ())})),
        *_tasks(config),
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


def _routes(config: Config, dialects: Collection[str]) -> Iterator[Problem]:
    """Return what is wrong with ``[[route]]``; ``dialect`` is checked if there are names for it."""
    known = [upstream.name for upstream in config.upstream]
    for index, route in enumerate(config.route):
        at: Path = ("route", index)
        if route.dialect is not None and dialects:
            yield from one_of((*at, "dialect"), route.dialect, [PLAIN, *dialects])
        if route.like is not None and (route.request != PlacesConfig() or route.answer != PlacesConfig()):
            yield Problem((*at, "like"), "and places exclude each other: leave one of them out")
        if route.upstream is not None:
            yield from one_of((*at, "upstream"), route.upstream, known)
    yield from _twice(config)


def _twice(config: Config) -> Iterator[Problem]:
    first: dict[tuple[str, str, str | None], int] = {}
    for index, route in enumerate(config.route):
        before = first.setdefault((route.method, route.path, route.upstream), index)
        if before != index:
            yield Problem(("route", index, "path"), f"is already route[{before}].path, which is asked first")


def _tasks(config: Config) -> Iterator[Problem]:
    """Return what is wrong with ``[[task]]``."""
    for index, rule in enumerate(config.task):
        yield from _task(("task", index), rule, config)
    yield from _order(config)


def _task(at: Path, rule: TaskConfig, config: Config) -> Iterator[Problem]:
    if rule.upstream is not None:
        yield from one_of((*at, "upstream"), rule.upstream, [upstream.name for upstream in config.upstream])
    if rule.tenant is not None:
        yield from one_of((*at, "tenant"), rule.tenant, [tenant.name for tenant in config.tenant])


def _order(config: Config) -> Iterator[Problem]:
    """A rule after one that takes everything is never asked."""
    for index, rule in enumerate(config.task[:-1]):
        if all(getattr(rule, condition) is None for condition in _CONDITIONS):
            what = f"takes every request, so task[{index + 1}] is never asked: put it last"
            yield Problem(("task", index), what)
            return
