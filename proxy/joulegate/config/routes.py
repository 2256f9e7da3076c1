"""Whether the rules for routes make sense. Pure."""

from collections.abc import Collection, Iterator

from msgspec import structs

from joulegate.config.lines import Path
from joulegate.config.pointers import path_pattern, pointer
from joulegate.config.problems import Problem
from joulegate.config.rules import one_of, parsed, task
from joulegate.config.structs import Config, PlacesConfig, RouteConfig

PLAIN = "plain"
"""The dialect of those whose clients read a line of text."""


def problems(config: Config, dialects: Collection[str] = ()) -> Iterator[Problem]:
    """Return what is wrong with ``[[route]]``; ``dialect`` is checked if there are names for it."""
    known = [upstream.name for upstream in config.upstream]
    for index, route in enumerate(config.route):
        at: Path = ("route", index)
        yield from _one(at, route)
        if route.dialect is not None and dialects:
            yield from one_of((*at, "dialect"), route.dialect, [PLAIN, *dialects])
        if route.upstream is not None:
            yield from one_of((*at, "upstream"), route.upstream, known)
    yield from _twice(config)


def _one(at: Path, route: RouteConfig) -> Iterator[Problem]:
    yield from parsed((*at, "path"), path_pattern, route.path)
    if not route.method.isascii() or not route.method.isupper() or not route.method.isalpha():
        yield Problem((*at, "method"), f"{route.method[:60]!r} is no method: write for example 'POST'")
    yield from task((*at, "task"), route.task)
    for body in ("request", "answer"):
        yield from _places((*at, body), getattr(route, body))
    if route.like is not None:
        yield from _like(at, route)


def _places(at: Path, places: PlacesConfig) -> Iterator[Problem]:
    for field, text in structs.asdict(places).items():
        if text is not None:
            yield from parsed((*at, field), pointer, text)


def _like(at: Path, route: RouteConfig) -> Iterator[Problem]:
    """A route that is read as another one has no places of its own."""
    like = route.like or ""
    if not like.startswith("/") or set(like) & set("?#*{}"):
        yield Problem((*at, "like"), f"{like[:60]!r} is no path: write the path of a server that is known")
    if route.request != PlacesConfig() or route.answer != PlacesConfig():
        yield Problem((*at, "like"), "and places exclude each other: leave one of them out")


def _twice(config: Config) -> Iterator[Problem]:
    first: dict[tuple[str, str, str | None], int] = {}
    for index, route in enumerate(config.route):
        before = first.setdefault((route.method, route.path, route.upstream), index)
        if before != index:
            yield Problem(("route", index, "path"), f"is already route[{before}].path, which is asked first")
