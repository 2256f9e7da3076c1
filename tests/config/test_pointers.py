"""Places in JSON bodies and patterns of paths, as people write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.config.pointers import path_pattern, pointer
from joulegate.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("/", ("",)),
        ("/a/0", ("a", "0")),
        ("/a~1b/~0/m~01", ("a/b", "~", "m~1")),
        ("/a.b", ("a.b",)),
    ],
)
def test_pointers_are_those_of_the_rfc(text: str, parts: tuple[str, ...]) -> None:
    """RFC 6901, section 5."""
    assert pointer(text) == parts


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("usage.tokens", "write '/usage/tokens'"),
        ("$.usage.tokens", "write '/usage/tokens'"),
        ("a", "write '/a'"),
        ("/a~2", "'~0' for a tilde"),
        ("/a~", "'~0' for a tilde"),
    ],
)
def test_what_is_no_pointer_is_told_how_to_write_it(text: str, hint: str) -> None:
    """Other ways to write a place are mended in the message."""
    with pytest.raises(ConfigError, match=hint):
        pointer(text)


@pytest.mark.parametrize(
    ("pattern", "path", "model"),
    [
        ("/a", "/a", None),
        ("/caption/{model}", "/caption/blip-2", "blip-2"),
        ("/{model}/v1/*", "/m/v1/x/y", "m"),
        ("/*", "/", None),
        ("/a.b*", "/a.b", None),
    ],
)
def test_patterns_take_paths(pattern: str, path: str, model: str | None) -> None:
    """A star is any characters, ``{model}`` one part."""
    match = path_pattern(pattern).fullmatch(path)
    assert match
    assert match.groupdict().get("model") == model


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("/a", "/a/"), ("/a", "/A"), ("/{model}", "/a/b"), ("/{model}", "/"), ("/a.b", "/axb")],
)
def test_patterns_leave_other_paths(pattern: str, path: str) -> None:
    """Everything else stands for itself."""
    assert path_pattern(pattern).fullmatch(path) is None


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("a", "begin with a slash"),
        ("/a?b", "leave the query out"),
        ("/é", "percent-encode"),
        ("/a b", "percent-encode"),
        ("/{name}", "'{name}' is not known"),
        ("/{model", "'{model' is not known"),
        ("/{model}/{model}", "names the model twice"),
    ],
)
def test_what_is_no_pattern_is_told_why(pattern: str, hint: str) -> None:
    """The message says what there is."""
    with pytest.raises(ConfigError, match=hint):
        path_pattern(pattern)


@given(text=st.text(max_size=30))
def test_any_text_is_a_pattern_or_an_error(text: str) -> None:
    """Nothing else is raised, whatever people write."""
    for parse in (pointer, path_pattern):
        with suppress(ConfigError):
            parse(text)
