"""Small checks that several parts of the configuration share. Pure."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator

from joulegate.config.lines import Path
from joulegate.config.problems import Problem, choices, near
from joulegate.errors import ConfigError
from joulegate.model import Task

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_RESERVED = {"other", "unknown"}
"""Label values with a meaning of their own in the metrics."""


def parsed(path: Path, parse: Callable[[str], object], text: str) -> Iterator[Problem]:
    """Return the problem that the parser has with the text, if any."""
    try:
        parse(text)
    except ConfigError as error:
        yield Problem(path, str(error))


def name(path: Path, text: str) -> Iterator[Problem]:
    """A name becomes a label, a part of a path and a word in messages."""
    if not _NAME.fullmatch(text):
        yield Problem(
            path,
            f"{text[:60]!r} is no name: use letters, digits, '.', '_' and '-', at most 64, a letter first",
        )
    elif text in _RESERVED:
        yield Problem(path, f"{text!r} is reserved: it stands for what has no name; choose another one")


def unique(section: str, key: str, texts: Iterable[str]) -> Iterator[Problem]:
    """No two tables of a list may have the same value."""
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        if first.setdefault(text, index) != index:
            yield Problem((section, index, key), f"{text[:60]!r} is already {section}[{first[text]}].{key}")


def one_of(path: Path, text: str, known: Collection[str]) -> Iterator[Problem]:
    """The text must be one of the known words."""
    if text not in known:
        yield Problem(
            path, f"{text[:60]!r} is not known{near(text, known)}; there are {choices(known) or 'none'}"
        )


def task(path: Path, text: str | None) -> Iterator[Problem]:
    """A task, where one is given, must be one of the catalogue's."""
    if text is not None:
        yield from one_of(path, text, [known.value for known in Task])


def between(path: Path, value: float, low: float, high: float) -> Iterator[Problem]:
    """The number must lie between both bounds; not-a-number never does."""
    if not low <= value <= high:
        yield Problem(path, f"{value} is not between {low} and {high}")
