"""Rules for the task of a request."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.config import TaskConfig
from joulegate.gateway.policy.task_rules import TaskMatch, TaskRule, open_rules, rule, task_of
from joulegate.model import Task

ASKS = TaskMatch("/v1/chat/completions", {b"x-app": b"digest "}, "news", "text")


def rules(*configs: dict[str, Any]) -> list[TaskRule]:
    return [rule(TaskConfig(**config)) for config in configs]


def found(model: str | None, *configs: dict[str, Any]) -> Task | None:
    return task_of(open_rules(rules(*configs), ASKS), model)


@pytest.mark.parametrize(
    ("condition", "takes"),
    [
        ({}, True),
        ({"path": "/v1/chat/*"}, True),
        ({"path": "/v1/chat"}, False),
        ({"path": "*"}, True),
        ({"model": "llama-3*"}, True),
        ({"model": "Llama-3*"}, False),
        ({"model": "llama"}, False),
        ({"header": "X-App=digest"}, True),
        ({"header": "x-app = dig*"}, True),
        ({"header": "X-App=dig"}, False),
        ({"header": "X-Other=digest"}, False),
        ({"tenant": "news"}, True),
        ({"tenant": "sports"}, False),
        ({"upstream": "text"}, True),
        ({"upstream": "image"}, False),
        (
            {"path": "/v1/*", "model": "llama*", "header": "X-App=*", "tenant": "news", "upstream": "text"},
            True,
        ),
        (
            {"path": "/v1/*", "model": "llama*", "header": "X-App=*", "tenant": "news", "upstream": "no"},
            False,
        ),
    ],
)
def test_all_given_conditions_must_hold(condition: dict[str, str], takes: bool) -> None:
    """A rule takes a request whose every named part agrees."""
    task = found("llama-3.1-8b", {"task": "summarization", **condition})
    assert task == (Task.SUMMARIZATION if takes else None)


def test_the_first_rule_that_takes_the_request_wins() -> None:
    """One model is metered as classification for one application and as summarization for another."""
    first = {"task": "text-classification", "model": "gemma*"}
    second = {"task": "summarization", "header": "X-App=digest"}
    assert found("gemma-3", first, second) == Task.TEXT_CLASSIFICATION
    assert found("llama-3", first, second) == Task.SUMMARIZATION
    assert found(None, first, second) == Task.SUMMARIZATION
    assert found("llama-3", first) is None


def test_rules_behind_a_certain_one_are_not_kept() -> None:
    """What no model can change is decided before the model is known."""
    kept = open_rules(rules({"task": "chat", "model": "a"}, {"task": "rerank"}, {"task": "chat"}), ASKS)
    assert [one.task for one in kept] == [Task.CHAT, Task.RERANK]


@given(st.text(), st.text(alphabet="ab*.[?\n"))
def test_only_the_asterisk_is_special(model: str, pattern: str) -> None:
    """A pattern without asterisks is the name itself, whatever characters it has."""
    plain = pattern.replace("*", "")
    assert found(model, {"task": "chat", "model": plain or "x"}) == (
        Task.CHAT if model == (plain or "x") else None
    )
    assert found(f"{plain}{model}", {"task": "chat", "model": f"{plain}*"}) == Task.CHAT
