"""docs/disconnects.md says what the plug-ins say."""

from pathlib import Path

from joulegate.testing.server_table import page


def test_the_table_is_current(root: Path) -> None:
    """The table of servers is the plug-ins'; ``make docs`` writes it."""
    document = (root / "docs" / "disconnects.md").read_text(encoding="utf-8")
    assert document == page(document), "python -m joulegate.testing.server_table docs/disconnects.md"
