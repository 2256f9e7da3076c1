"""The task of an inference request, where the configuration knows better than the route. Pure."""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from joulegate.config import TaskConfig
from joulegate.globs import compiled
from joulegate.model import Task


class TaskRule(Struct, frozen=True):
    """One ``[[task]]``; a condition that is ``None`` holds."""

    task: Task
    path: re.Pattern[str] | None = None
    model: re.Pattern[str] | None = None
    header: tuple[bytes, re.Pattern[str]] | None = None
    """Name in lower case, and what the first such field must say."""
    tenant: str | None = None
    upstream: str | None = None


def rule(config: TaskConfig) -> TaskRule:
    """Return the rule of a checked ``[[task]]``."""
    name, equals, value = config.header.partition("=") if config.header else ("", "", "")
    return TaskRule(
        task=config.task,
        path=compiled(config.path) if config.path else None,
        model=compiled(config.model) if config.model else None,
        header=(name.strip().lower().encode(), compiled(value.strip())) if equals else None,
        tenant=config.tenant,
        upstream=config.upstream,
    )


class TaskMatch(Struct, frozen=True):
    """What is known of a request before its model is."""

    path: str
    """As the client sent it, without query."""
    fields: Mapping[bytes, bytes]
    """First value of each header field by its name in lower case."""
    tenant: str | None
    upstream: str


def open_rules(rules: Sequence[TaskRule], asks: TaskMatch) -> tuple[TaskRule, ...]:
    """Return the rules that only the model can decide between: none after one that no model can fail."""
    found: list[TaskRule] = []
    for one in rules:
        if _holds(one, asks):
            found.append(one)
            if one.model is None:
                break
    return tuple(found)


def task_of(rules: Sequence[TaskRule], model: str | None) -> Task | None:
    """Return the task of the first rule that takes this model, if any does."""
    for one in rules:
        if one.model is None or (model is not None and one.model.fullmatch(model)):
            return one.task
    return None


def _holds(one: TaskRule, asks: TaskMatch) -> bool:
    if one.upstream is not None and one.upstream != asks.upstream:
        return False
    if one.tenant is not None and one.tenant != asks.tenant:
        return False
    if one.path is not None and not one.path.fullmatch(asks.path):
        return False
    if one.header is None:
        return True
    name, pattern = one.header
    value = asks.fields.get(name)
    return value is not None and pattern.fullmatch(value.decode("latin-1").strip()) is not None
