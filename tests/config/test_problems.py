"""Problems are said so that they can be mended, and never with a secret."""

import pytest

from joulegate.config.lines import Path
from joulegate.config.problems import choices, dotted, is_secret, near, one_of, shown, unique


@pytest.mark.parametrize(
    ("path", "expected"),
    [((), ""), (("listen", "gates"), "listen.gates"), (("upstream", 0, "gpus", 1), "upstream[0].gpus[1]")],
)
def test_paths_read_as_people_write_them(path: Path, expected: str) -> None:
    """A path is shown with dots and list positions."""
    assert dotted(path) == expected


def test_near_names() -> None:
    """A slip is hinted at, whatever its case; a word like none is not."""
    assert near("adress", ["address", "admin"]) == " (did you mean 'address'?)"
    assert near("fra", ["FRA", "DEU"]) == " (did you mean 'FRA'?)"
    assert near("zzz", ["address"]) == ""
    assert near("x" * 10**6, ["address"]) == ""


def test_choices_are_sorted() -> None:
    """Allowed words stand in an order that can be searched."""
    assert choices(["b", "a"]) == "a, b"


def test_secrets_and_credentials_are_not_shown() -> None:
    """A value under a key that sounds like a secret is hidden, and so are credentials in a URL."""
    assert shown(("energy", "options", "x", "api_key"), "canary") == "'***'"
    assert shown(("a",), "http://u:canary@h") == "'http://***@h'"
    assert is_secret(("x", "auth_token", 0))
    assert not is_secret(("tenant", 0, "key_env"))


def test_long_values_are_cut() -> None:
    """A value of a megabyte does not fill the screen."""
    assert len(shown(("a",), "x" * 10**6)) == 60


def test_unique() -> None:
    """Each repetition is named with its first occurrence."""
    (problem,) = unique("upstream", "name", ["a", "b", "a"])
    assert problem.path == ("upstream", 2, "name")
    assert "upstream[0].name" in problem.what


def test_one_of() -> None:
    """An unknown word comes with a near one and the list of all."""
    (problem,) = one_of(("x",), "nvmll", ["nvml", "rapl"])
    assert problem.what == "'nvmll' is not known (did you mean 'nvml'?); there are nvml, rapl"
    assert not list(one_of(("x",), "nvml", ["nvml"]))
