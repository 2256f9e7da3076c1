"""Whether the rules for tasks make sense. Pure."""

from collections.abc import Iterator

from joulegate.config.lines import Path
from joulegate.config.problems import Problem
from joulegate.config.rules import one_of
from joulegate.config.structs import Config, TaskConfig

_CONDITIONS = ("path", "model", "header", "tenant", "upstream")


def problems(config: Config) -> Iterator[Problem]:
    """Return what is wrong with ``[[task]]``."""
    for index, rule in enumerate(config.task):
        yield from _rule(("task", index), rule, config)
    yield from _order(config)


def _rule(at: Path, rule: TaskConfig, config: Config) -> Iterator[Problem]:
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
