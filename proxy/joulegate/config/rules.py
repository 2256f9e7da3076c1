"""Small checks that several parts of the configuration share. Pure.

A parser returns the value of a text or raises ``ConfigError``; a check of several values yields problems.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator

from joulegate.config.lines import Path
from joulegate.config.problems import Problem, not_known
from joulegate.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_RESERVED = {"other", "unknown"}
"""Label values with a meaning of their own in the metrics."""


def checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Return a parser that refuses what another one refuses, and leaves the text as it is."""

    def check(text: str) -> str:
        parse(text)
        return text

    return check


def name(text: str) -> str:
    """Return a name, which becomes a label, a part of a path and a word in messages."""
    if not _NAME.fullmatch(text):
        raise ConfigError(
            f"{text[:60]!r} is no name: use letters, digits, '.', '_' and '-', at most 64, a letter first"
        )
    if text in _RESERVED:
        raise ConfigError(f"{text!r} is reserved: it stands for what has no name; choose another one")
    return text


def filled(what: str) -> Callable[[str], str]:
    """Return a parser that refuses an empty text and says what to do instead."""

    def parse(text: str) -> str:
        if not text.strip():
            raise ConfigError(f"is empty: {what}")
        return text

    return parse


def unique(section: str, key: str, texts: Iterable[str]) -> Iterator[Problem]:
    """No two tables of a list may have the same value."""
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        if first.setdefault(text, index) != index:
            yield Problem((section, index, key), f"{text[:60]!r} is already {section}[{first[text]}].{key}")


def one_of(path: Path, text: str, known: Collection[str]) -> Iterator[Problem]:
    """The text must be one of the known words."""
    if text not in known:
        yield Problem(path, not_known(text, known))
