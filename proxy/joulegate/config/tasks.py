"""Whether the rules for tasks and models make sense. Pure."""

import re
from collections.abc import Iterator

from joulegate.config.lines import Path
from joulegate.config.problems import Problem
from joulegate.config.rules import one_of, task
from joulegate.config.structs import Config, TaskConfig

_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=\s*\S.*", re.ASCII)
"""A header field's name (RFC 9110, 5.1) and a value."""
_CREDENTIALS = ("authorization", "x-api-key", "api-key", "cookie", "proxy-authorization")
_CONDITIONS = ("path", "model", "header", "tenant", "upstream")


def problems(config: Config) -> Iterator[Problem]:
    """Return what is wrong with ``[[task]]`` and ``[[model]]``."""
    for index, rule in enumerate(config.task):
        yield from _rule(("task", index), rule, config)
    yield from _order(config)
    for index, model in enumerate(config.model):
        if not model.name.strip():
            yield Problem(("model", index, "name"), "is empty: name a model, or write '*' for all of them")


def _rule(at: Path, rule: TaskConfig, config: Config) -> Iterator[Problem]:
    yield from task((*at, "task"), rule.task)
    if rule.path is not None and not rule.path.startswith(("/", "*")):
        yield Problem((*at, "path"), f"{rule.path[:60]!r} is no path: begin with a slash, or with '*'")
    if rule.model is not None and not rule.model.strip():
        yield Problem((*at, "model"), "is empty: name the model or leave the key out")
    yield from _header((*at, "header"), rule.header)
    if rule.upstream is not None:
        yield from one_of((*at, "upstream"), rule.upstream, [upstream.name for upstream in config.upstream])
    if rule.tenant is not None:
        yield from one_of((*at, "tenant"), rule.tenant, [tenant.name for tenant in config.tenant])


def _header(at: Path, text: str | None) -> Iterator[Problem]:
    if text is None:
        return
    if text.partition("=")[0].strip().lower() in _CREDENTIALS:
        # Never repeated: somebody may have written the key itself here.
        yield Problem(at, "is a credential: add a [[tenant]] with its key and name that tenant here")
    elif not _FIELD.fullmatch(text):
        yield Problem(at, f"{text[:60]!r} is no field: write name and value, such as 'X-App=digest'")


def _order(config: Config) -> Iterator[Problem]:
    """A rule after one that takes everything is never asked."""
    for index, rule in enumerate(config.task[:-1]):
        if all(getattr(rule, condition) is None for condition in _CONDITIONS):
            what = f"takes every request, so task[{index + 1}] is never asked: put it last"
            yield Problem(("task", index), what)
            return
