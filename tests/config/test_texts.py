"""Settings that stay text are checked one by one."""

from collections.abc import Callable

import pytest

from joulegate.config import texts
from joulegate.config.quantities import duration
from joulegate.config.texts import checked, filled, name
from joulegate.errors import ConfigError


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (texts.path_prefix, "/image"),
        (texts.affinity, "prompt"),
        (texts.affinity, "header:X-Session-Id"),
        (texts.http_method, "PUT"),
        (texts.known_path, "/v1/chat/completions"),
        (texts.client_path, "*/chat"),
        (texts.header_value, "X-App = a b"),
        (texts.variable_name, "TEAM_A_KEY"),
        (texts.zone, "FRA"),
        (texts.timezone, "Europe/Paris"),
    ],
)
def test_good_texts_stay_as_they_are(parse: Callable[[str], str], text: str) -> None:
    """What makes sense is kept as it was written."""
    assert parse(text) == text


@pytest.mark.parametrize(
    ("parse", "text", "what"),
    [
        (texts.path_prefix, "/", "begin with a slash and name a part"),
        (texts.affinity, "header:", "header:X-Session-Id"),
        (texts.http_method, "put", "is no method"),
        (texts.known_path, "/v1/*", "is no path"),
        (texts.client_path, "v1", "begin with a slash, or with"),
        (texts.header_value, "X-App", "is no field"),
        (texts.zone, "fr", "is no zone"),
        (texts.timezone, "Mars", "is no time zone"),
    ],
)
def test_a_wrong_text_says_what_to_write(parse: Callable[[str], str], text: str, what: str) -> None:
    """Each refusal has the remedy."""
    with pytest.raises(ConfigError, match=what):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "text"), [(texts.variable_name, "sk-canary"), (texts.header_value, "Authorization=sk-canary")]
)
def test_what_may_be_a_key_is_never_repeated(parse: Callable[[str], str], text: str) -> None:
    """A key that stands in the wrong place does not reach a log as well."""
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("text", ["a", "team-a", "A.b_c-9", "x" * 64])
def test_names(text: str) -> None:
    """Plain words are names."""
    assert name(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a b", "a/b", "ä", "x" * 65, "a\n", "other", "unknown"])
def test_refused_names(text: str) -> None:
    """What would hurt a label or a path, or is reserved, is no name."""
    with pytest.raises(ConfigError):
        name(text)


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
