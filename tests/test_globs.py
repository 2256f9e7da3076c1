"""Patterns with stars, and how long they take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.globs import compiled, compiled_path


def reference(glob: str, text: str) -> bool:
    """Whether a text matches, by the definition: a table of what each beginning of the pattern reaches."""
    reached = {0}
    for letter in glob:
        if letter == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else reached
        else:
            reached = {at + 1 for at in reached if at < len(text) and text[at] == letter}
    return len(text) in reached


@given(st.text("ab*", max_size=8), st.text("ab\n", max_size=12))
def test_stars_mean_any_characters(glob: str, text: str) -> None:
    """Every pattern matches just what its definition says."""
    assert (compiled(glob).fullmatch(text) is not None) == reference(glob, text)


@pytest.mark.parametrize(
    ("glob", "path", "model"),
    [
        ("/caption/{model}", "/caption/llava", "llava"),
        ("/models/{model}:generate", "/models/gemma:generate", "gemma"),
        ("/v1/*/{model}/run", "/v1/a/b/run", "b"),
        ("/*/models/{model}/*", "/x/y/models/m/predict", "m"),
        ("/caption/{model}", "/caption/a/b", None),
        ("/caption/{model}", "/caption/", None),
        ("/a/*/b", "/a/x/y/b", None),
    ],
)
def test_a_path_names_a_model(glob: str, path: str, model: str | None) -> None:
    """The name is one part of the path, as it stands there."""
    match = compiled_path(glob).fullmatch(path)
    assert (match.groupdict().get("model") if match else None) == model


@pytest.mark.parametrize("glob", ["/a/*/b/*/c/*/d", "*a*a*a*a*b", "/a/*/b/*/{model}/c/*/d", "*{model}x"])
def test_no_text_makes_a_match_slow(glob: str) -> None:
    """A pattern with many stars and a long path that nearly matches is over at once, not in hours."""
    for piece in ("/a/b/c", "a", "/b/", "/"):
        assert compiled_path(glob).fullmatch("/a/" + piece * 10_000) is None


def test_case_can_be_left_out() -> None:
    """Names of models are written in any case."""
    assert compiled("*Llama*", ignore_case=True).fullmatch("meta-llama/x")
    assert not compiled("*Llama*").fullmatch("meta-llama/x")
