"""What ``joulegate doctor`` found out: one line for each thing, with its remedy if there is one."""

import textwrap
from collections.abc import Iterable
from enum import StrEnum

import click
from msgspec import Struct


class Mark(StrEnum):
    """What a finding means for the user."""

    GOOD = "good"
    NOTE = "note"
    """Works, but a person should know."""
    BAD = "bad"
    """joulegate would not start, or not serve."""


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    subject: str
    mark: Mark
    found: str
    remedy: str = ""


_SIGNS = {Mark.GOOD: ("ok", "green"), Mark.NOTE: ("--", "yellow"), Mark.BAD: ("!!", "red")}
_COLUMN = 20


def render(findings: Iterable[Finding], width: int) -> list[str]:
    """Return the lines to print."""
    return [line for finding in findings for line in _lines(finding, width)]


def _lines(finding: Finding, width: int) -> list[str]:
    sign, colour = _SIGNS[finding.mark]
    text = finding.found + (f"; {finding.remedy}" if finding.remedy else "")
    plain = "".join(character if character.isprintable() else "?" for character in text)
    lines = textwrap.wrap(plain, max(width - _COLUMN - 4, 20), break_on_hyphens=False) or [""]
    head = f"{click.style(sign, fg=colour)}  {finding.subject:<{_COLUMN}}{lines[0]}"
    return [head, *(f"{'':{_COLUMN + 4}}{line}" for line in lines[1:])]
