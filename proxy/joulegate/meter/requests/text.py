"""Words that come from clients and servers, made harmless before they are kept or shown."""

from functools import lru_cache

LONGEST = 256
"""Characters of a name that are kept."""


def clean(text: str | None) -> str | None:
    """Return a name that any file, log and screen can hold; ``None`` for one that is absent or empty.

    Lone surrogates cannot be encoded at all, control and bidirectional characters lie to the reader's eye;
    each is replaced. What is longer is cut.
    """
    return None if text is None else _short(text[:LONGEST])


@lru_cache(maxsize=1024)
def _short(short: str) -> str | None:
    if not short.isprintable():
        short = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short)
    return short.strip() or None
