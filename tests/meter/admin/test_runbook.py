"""The runbook as a page."""

from pathlib import Path

import yaml

from joulegate.meter.admin.runbook import page, rendered


def test_every_alert_leads_to_its_section(root: Path) -> None:
    """What an alert links to is there."""
    rules = yaml.safe_load((root / "grafana" / "rules" / "joulegate.alerts.yml").read_text())
    urls = [rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"]]
    assert urls
    shown = page()
    for url in urls:
        assert f'id="{url.partition("#")[2]}"' in shown


def test_the_page_needs_nothing_from_outside_and_keeps_the_text() -> None:
    """No script, no address; marks of HTML are text."""
    shown = rendered("# Title\n\nFirst <b> & last.\n\n## Alert\n\n1. Do.\n")
    assert '<h1 id="title">Title</h1>' in shown
    assert "First &lt;b&gt; &amp; last." in shown
    assert '<h2 id="alert">Alert</h2>\n<pre>1. Do.</pre>' in shown
    assert "<script" not in shown
    assert "src=" not in shown
