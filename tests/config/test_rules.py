"""The checks that several parts of the configuration share."""

import math

import pytest

from joulegate.config.quantities import duration
from joulegate.config.rules import between, name, one_of, parsed, task, unique

AT = ("x",)


@pytest.mark.parametrize("text", ["a", "team-a", "A.b_c-9", "x" * 64])
def test_names(text: str) -> None:
    """Plain words are names."""
    assert not list(name(AT, text))


@pytest.mark.parametrize("text", ["", "-a", "a b", "a/b", "ä", "x" * 65, "a\n", "other", "unknown"])
def test_refused_names(text: str) -> None:
    """What would hurt a label or a path, or is reserved, is no name."""
    assert len(list(name(AT, text))) == 1


def test_unique() -> None:
    """Each repetition is named with its first occurrence."""
    (problem,) = unique("upstream", "name", ["a", "b", "a"])
    assert problem.path == ("upstream", 2, "name")
    assert "upstream[0].name" in problem.what


def test_one_of() -> None:
    """An unknown word comes with a near one and the list of all."""
    (problem,) = one_of(AT, "nvmll", ["nvml", "rapl"])
    assert problem.what == "'nvmll' is not known (did you mean 'nvml'?); there are nvml, rapl"
    assert not list(one_of(AT, "nvml", ["nvml"]))


def test_task() -> None:
    """No task is no problem, an unknown one is."""
    assert not list(task(AT, None))
    assert not list(task(AT, "chat"))
    (problem,) = task(AT, "chatt")
    assert "'chat'" in problem.what


@pytest.mark.parametrize(("value", "count"), [(1, 0), (2, 0), (0, 1), (3, 1), (math.nan, 1), (math.inf, 1)])
def test_between(value: float, count: int) -> None:
    """Both bounds are allowed; not-a-number is not."""
    assert len(list(between(AT, value, 1, 2))) == count


def test_parsed() -> None:
    """A parser's refusal becomes a problem of the key."""
    assert not list(parsed(AT, duration, "1 s"))
    (problem,) = parsed(AT, duration, "1 week")
    assert problem.path == AT
