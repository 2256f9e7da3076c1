"""Ollama's models elsewhere."""

import pytest

from joulegate.framing.onward import base_of, passed_on


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("gpt-oss:120b-cloud", "gpt-oss:120b"),
        ("gpt-oss:20b:cloud", "gpt-oss:20b"),
        ("qwen3:CLOUD", "qwen3"),
        ("localhost:11434/library/foo:cloud", "localhost:11434/library/foo"),
        ("my-cloud-model", None),
        ("my-cloud", None),
        ("cloud", None),
        (":cloud", None),
        ("foo:bar-cloud/baz", None),
        ("foo:cloud:local", None),
        ("llama3.2", None),
        (None, None),
    ],
)
def test_names_are_read_as_ollama_reads_them(model: str | None, base: str | None) -> None:
    """The cases are those of Ollama's own ``modelref_test.go``."""
    assert base_of(model) == base


@pytest.mark.parametrize(
    ("answered", "elsewhere"),
    [("gpt-oss:120b", True), ("gpt-oss:120b-cloud", False), (None, False), ("other", False)],
)
def test_only_an_answer_under_the_base_name_came_from_elsewhere(
    answered: str | None, elsewhere: bool
) -> None:
    """A server that answers with the name as asked worked itself: its energy is never taken for none."""
    assert passed_on("gpt-oss:120b-cloud", answered) is elsewhere
    assert not passed_on("gpt-oss:120b", "gpt-oss:120b")
