"""What is wrong with a configuration, said so that it can be mended."""

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

from msgspec import Struct

from joulegate.config.addresses import redacted
from joulegate.config.lines import Path

_SECRET_WORDS = ("key", "token", "secret", "password", "passwd", "credential")
_WIDTH = 60


class Problem(Struct, frozen=True):
    """One thing that is wrong."""

    path: Path
    what: str
    """What is wrong and what to write instead."""


def dotted(path: Path) -> str:
    """Return a path as people read it: ``upstream[0].url``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def near(word: str, known: Collection[str]) -> str:
    """Return `` (did you mean 'x'?)`` if one of the known words is like this one, else nothing."""
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold()[:100], folded, n=1, cutoff=0.6)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


def not_known(word: str, known: Collection[str]) -> str:
    """Return what is wrong with a word that is none of those that are known."""
    return f"{word[:60]!r} is not known{near(word, known)}; there are {choices(known) or 'none'}"


def choices(known: Collection[str]) -> str:
    """Return the allowed words as a list in prose."""
    return ", ".join(sorted(known))


def shown(path: Path, value: object) -> str:
    """Return a value as it may be shown: short, and never a secret."""
    if is_secret(path):
        return "'***'"
    text = repr(redacted(value) if isinstance(value, str) and "://" in value else value)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def is_secret(path: Path) -> bool:
    """Whether a key's name suggests a secret; ``…_env`` only names a variable."""
    names = [part.lower() for part in path if isinstance(part, str)]
    return any(word in name and not name.endswith("_env") for name in names for word in _SECRET_WORDS)


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
