"""Findings are lines with a sign, a subject, what was found and the remedy."""

import re

from joulegate.cli.findings import Finding, Mark, render


def test_lines() -> None:
    """Long texts go on below their own beginning, within the width; nothing unprintable gets through."""
    found = [
        Finding("python", Mark.GOOD, "3.13"),
        Finding("ledger", Mark.BAD, "full\x1b[2J " * 20, "make room"),
    ]
    lines = [re.sub(r"\x1b\[\d+m", "", line) for line in render(found, 60)]
    assert lines[0] == "ok  python              3.13"
    assert lines[1].startswith("!!  ledger              full?[2J")
    assert max(map(len, lines)) <= 60
    assert "make room" in " ".join(line.strip() for line in lines)
