"""What the documents point to is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|toml|yml|md|json|csv|service))`")
ROOTS = ("", "proxy", "proxy/joulegate", "exporters", "docs")
"""Folders from which a document may name a file."""

WRITTEN_LATER = {"doubt/trace.jsonl", "alertmanager/alertmanager.yml"}
"""Files that a reader makes."""


def documents(root: Path) -> Iterator[Path]:
    """Return the pages that people read."""
    yield from (root / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))
    yield from sorted((root / "docs").rglob("*.md"))


def test_every_link_leads_to_a_file_and_a_heading(root: Path) -> None:
    """A link within the repository leads somewhere, also after a file has moved or a heading has changed."""
    broken = []
    for page in documents(root):
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(root)}: {target}")
    assert broken == []


def test_every_file_that_is_named_exists(root: Path) -> None:
    """A file that a page names in code type is where the page says it is."""
    missing = [
        f"{page.relative_to(root)}: {name}"
        for page in documents(root)
        for name in PATH.findall(page.read_text(encoding="utf-8"))
        if not name.startswith("/") and name not in WRITTEN_LATER
        if not any((root / place / name).exists() for place in ROOTS)
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [("## The step clock", "the-step-clock"), ("### `route.request`, `[[x]]`", "routerequest-x")],
)
def test_anchors_are_those_of_the_forge(tmp_path: Path, heading: str, anchor: str) -> None:
    """A heading's anchor is in lower case, without punctuation, with hyphens for spaces."""
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{heading}\n", encoding="utf-8")
    assert anchor in anchors(page)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    if page.suffix != ".md":
        return set()
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
