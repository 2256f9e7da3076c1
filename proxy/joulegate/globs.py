"""Patterns as people write them: ``*`` stands for any characters, everything else for itself. Pure.

What is matched is chosen by clients, so a match takes time in proportion to the text, whatever the pattern:
each part between two stars is looked for once, at its first place, and never given back (an atomic group).
For a pattern of stars alone that loses no match.
"""

import re

MODEL = "{model}"
"""One part of a path, the name of a model."""


def compiled(glob: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Return what matches a whole text: use its ``fullmatch``."""
    first, *rest = glob.split("*")
    return re.compile(_joined(re.escape(first), [re.escape(part) for part in rest]), _flags(ignore_case))


def compiled_path(glob: str) -> re.Pattern[str]:
    """Return what matches a whole path in which ``{model}`` may stand once: the group ``model``.

    A star before ``{model}`` ends at the first place where the characters between the two stand.
    """
    before, named, after = glob.partition(MODEL)
    if not named:
        return compiled(glob)
    first, *rest = before.split("*")
    pieces = [re.escape(first), *(f"(?>.*?{re.escape(part)})" for part in rest)]
    then, *more = after.split("*")
    text = "".join(pieces) + "(?P<model>[^/]+)"
    return re.compile(_joined(text + re.escape(then), [re.escape(part) for part in more]), re.DOTALL)


def _joined(first: str, rest: list[str]) -> str:
    """Return a pattern of parts with a star between each two: the last one stands at the end of the text."""
    if not rest:
        return first
    *middle, last = rest
    return f"{first}{''.join(f'(?>.*?{part})' for part in middle)}.*{last}"


def _flags(ignore_case: bool) -> re.RegexFlag:
    return re.DOTALL | re.IGNORECASE if ignore_case else re.DOTALL
