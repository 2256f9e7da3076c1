"""Routes that the configuration knows: what a request is taken for, before any protocol is asked. Pure."""

import re
from collections.abc import Collection, Sequence
from urllib.parse import unquote

from msgspec import Struct, structs

from joulegate.config import PlacesConfig, RouteConfig
from joulegate.config.pointers import path_pattern, pointer
from joulegate.model import Task, WorkClass
from joulegate.ports import Places, Route

RULED = "rule"
"""Name of all routes that only the configuration knows."""


class RouteRule(Struct, frozen=True):
    """One ``[[route]]``."""

    method: str
    path: re.Pattern[str]
    upstream: str | None
    like: str | None
    task: Task | None
    work: WorkClass | None
    dialect: str | None
    places: Places


class Ruled(Struct, frozen=True):
    """What a rule makes of one request."""

    rule: RouteRule
    model: str | None

    def over(self, route: Route) -> Route:
        """Return the route that a protocol knows with what the rule says of it."""
        rule = self.rule
        if rule.like is None:
            route = Route(RULED, dialect="plain", places=rule.places)
        changes = {"task": rule.task, "work": rule.work, "dialect": rule.dialect, "model": self.model}
        return structs.replace(route, **{name: value for name, value in changes.items() if value is not None})


def route_rule(config: RouteConfig) -> RouteRule:
    """Return the rule of a checked ``[[route]]``."""
    return RouteRule(
        method=config.method,
        path=path_pattern(config.path),
        upstream=config.upstream,
        like=config.like,
        task=config.task,
        work=WorkClass(config.work) if config.work else None,
        dialect=config.dialect,
        places=Places(request=_pointers(config.request), answer=_pointers(config.answer)),
    )


def ruled(rules: Sequence[RouteRule], upstreams: Collection[str], method: str, path: str) -> Ruled | None:
    """Return what the first rule for this request makes of it; ``upstreams`` are those it may go to."""
    for rule in rules:
        if rule.method == method and (rule.upstream is None or rule.upstream in upstreams):
            match = rule.path.fullmatch(path)
            if match:
                model = match.groupdict().get("model")
                return Ruled(rule, unquote(model) if model else None)
    return None


def _pointers(places: PlacesConfig) -> dict[str, tuple[str, ...]]:
    return {field: pointer(text) for field, text in structs.asdict(places).items() if text is not None}
