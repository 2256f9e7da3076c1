"""Rules for tasks and models must make sense."""

from collections.abc import Callable
from pathlib import Path

import pytest

from joulegate.config.load import load

Refusal = Callable[[str], list[str]]
HEAD = '[[upstream]]\nname = "a"\nurl = "http://127.0.0.1:8000"\n'
TASK = '[[task]]\ntask = "chat"\n'


@pytest.mark.parametrize(
    ("section", "what"),
    [
        (
            '[[task]]\ntask = "sumarization"',
            "task[0].task: 'sumarization' is not known (did you mean 'summarization'?)",
        ),
        (TASK + 'path = "v1"', "task[0].path: 'v1' is no path"),
        (TASK + 'model = " "', "task[0].model: is empty"),
        (TASK + 'header = "X-App"', "task[0].header: 'X-App' is no field"),
        (TASK + 'header = "=x"', "task[0].header: '=x' is no field"),
        (TASK + 'header = "Authorization=sk-canary"', "task[0].header: is a credential"),
        (TASK + 'upstream = "text"', "task[0].upstream: 'text' is not known"),
        (TASK + 'tenant = "t"', "task[0].tenant: 't' is not known"),
        (TASK + 'modle = "x"', "task[0].modle"),
        (TASK + TASK, "task[0]: takes every request, so task[1] is never asked"),
        ('[[model]]\nname = ""\nkind = "multi-purpose"', "model[0].name: is empty"),
        ('[[model]]\nname = "a"\nkind = "multipurpose"', "model[0].kind"),
    ],
)
def test_one_slip_gives_one_line(section: str, what: str, refusal: Refusal) -> None:
    """Each wrong value gives one line with its file, line and key, and never a secret."""
    (line,) = refusal(HEAD + section)
    assert what in line
    assert ".toml:" in line
    assert "canary" not in line


def test_good_rules_are_accepted(written: Callable[[str], Path]) -> None:
    """A rule with every condition, and one for all the rest."""
    rule = 'path = "/v1/*"\nmodel = "a*"\nheader = "X-App = a b"\nupstream = "a"\n'
    text = HEAD + TASK + rule + TASK + '[[model]]\nname = "*"\nkind = "task-specific"'
    config = load(written(text))
    assert [one.path for one in config.task] == ["/v1/*", None]
    assert [one.kind for one in config.model] == ["task-specific"]
