"""The checks that several parts of the configuration share."""

import pytest

from joulegate.config.quantities import duration
from joulegate.config.rules import checked, filled, name, one_of, unique
from joulegate.errors import ConfigError

AT = ("x",)


@pytest.mark.parametrize("text", ["a", "team-a", "A.b_c-9", "x" * 64])
def test_names(text: str) -> None:
    """Plain words are names."""
    assert name(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a b", "a/b", "ä", "x" * 65, "a\n", "other", "unknown"])
def test_refused_names(text: str) -> None:
    """What would hurt a label or a path, or is reserved, is no name."""
    with pytest.raises(ConfigError):
        name(text)


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


def test_checked_texts_stay_text() -> None:
    """What another parser accepts is kept as it was written."""
    assert checked(duration)("1 s") == "1 s"
    with pytest.raises(ConfigError, match="unit"):
        checked(duration)("1 week")


def test_a_blank_text_says_what_to_write() -> None:
    """An empty text never passes for a value."""
    assert filled("name it")("x") == "x"
    with pytest.raises(ConfigError, match="is empty: name it"):
        filled("name it")(" ")
