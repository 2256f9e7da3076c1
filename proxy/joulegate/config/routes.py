"""Whether the rules for routes make sense. Pure."""

from collections.abc import Collection, Iterator

from joulegate.config.lines import Path
from joulegate.config.problems import Problem
from joulegate.config.rules import one_of
from joulegate.config.structs import Config, PlacesConfig

PLAIN = "plain"
"""The dialect of those whose clients read a line of text."""


def problems(config: Config, dialects: Collection[str] = ()) -> Iterator[Problem]:
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
