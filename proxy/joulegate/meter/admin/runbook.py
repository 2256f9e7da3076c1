"""The runbook as a page that alerts link to: one section for each alert, at an anchor of its name. Pure."""

from html import escape
from importlib.resources import files

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>joulegate runbook</title>
<style>
body {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 48rem;
  padding: 0 1rem; }}
pre {{ font: inherit; white-space: pre-wrap; }}
:target {{ outline: 2px solid; outline-offset: .3em; }}
</style>
{body}</html>
"""


def page() -> str:
    """Return the shipped runbook as HTML that needs nothing from outside."""
    return rendered(files("joulegate.meter.admin").joinpath("runbook.md").read_text(encoding="utf-8"))


def rendered(text: str) -> str:
    """Return a text with ``#`` and ``##`` headings as HTML; all else stands as it is written."""
    parts: list[str] = []
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        mark, _, title = line.partition(" ")
        if mark in {"#", "##"}:
            parts += [_paragraphs(lines), _heading(len(mark), title)]
            lines = []
        else:
            lines.append(line)
    return _PAGE.format(body="".join([*parts, _paragraphs(lines)]))


def _heading(level: int, title: str) -> str:
    return f'<h{level} id="{escape(title.lower())}">{escape(title)}</h{level}>\n'


def _paragraphs(lines: list[str]) -> str:
    text = "\n".join(lines).strip()
    return f"<pre>{escape(text)}</pre>\n" if text else ""
