import re
import subprocess

import promql_parser
import yaml

OPTIONAL_FOR = {"EnergyBudgetUsed50", "EnergyBudgetUsed80", "EnergyBudgetUsed100", "BooksDoNotBalance"}
"""Alerts that fire at once: their value does not flap."""


def alerts(rules):
    return [rule for rule in rules if "alert" in rule]


def alert_tests(grafana):
    for file in sorted((grafana / "rules" / "tests").glob("*.yml")):
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            yield from test.get("alert_rule_test", [])


def test_rules_are_valid(grafana, program):
    """promtool accepts the rules."""
    files = sorted((grafana / "rules").glob("*.yml"))
    done = subprocess.run([program("promtool"), "check", "rules", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_do_what_they_say(grafana, program):
    """promtool runs every test of the rules."""
    files = sorted((grafana / "rules" / "tests").glob("*.yml"))
    assert files
    done = subprocess.run([program("promtool"), "test", "rules", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways(grafana, rules):
    """Every alert has a test in which it fires and one in which it does not."""
    tests = list(alert_tests(grafana))
    for alert in alerts(rules):
        expected = [bool(test["exp_alerts"]) for test in tests if test["alertname"] == alert["alert"]]
        assert set(expected) == {True, False}, alert["alert"]


def test_every_recording_rule_is_tested_or_used(grafana, rules):
    """Every recorded series has a test, or an alert or another rule that uses it."""
    written = "".join(file.read_text() for file in (grafana / "rules" / "tests").glob("*.yml"))
    written += "".join(rule["expr"] for rule in rules)
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert {name for name in recorded if not re.search(rf"{name}(?!\w)", written)} == set()


def test_every_alert_has_a_runbook(grafana, rules):
    """Every alert points to a section of the runbook, and every section belongs to an alert."""
    runbook = (grafana.parent / "docs" / "runbook.md").read_text(encoding="utf-8")
    names = [alert["alert"] for alert in alerts(rules)]
    assert re.findall(r"^## (\w+)$", runbook, re.MULTILINE) == names
    for alert in alerts(rules):
        anchor = alert["alert"].lower()
        assert alert["annotations"]["runbook_url"] == f"http://{{{{ $labels.instance }}}}/runbook#{anchor}"
        assert "/d/joulegate-energy-at-a-glance?" in alert["annotations"]["dashboard_url"]
        assert alert["annotations"]["summary"].endswith(".")
        assert alert["labels"]["severity"] in {"page", "ticket", "info"}


def test_rules_use_what_is_exported_or_recorded(rules, metrics_in, exported):
    """Every name in a rule is one that joulegate exports or another rule records."""
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for rule in rules:
        promql_parser.parse(rule["expr"])
        assert metrics_in(rule["expr"]) <= exported
        assert set(re.findall(r"\w+:joulegate_\w+:\w+", rule["expr"])) <= recorded


def test_recorded_names_say_level_metric_operation(rules):
    """Recorded names have the form level:metric:operation."""
    for rule in rules:
        assert "alert" in rule or re.fullmatch(r"[a-z_]+:joulegate_\w+:\w+", rule["record"])


def test_alerts_wait_unless_they_say_why(rules):
    """An alert on a value that can flap waits; the others are known."""
    at_once = {alert["alert"] for alert in alerts(rules) if "for" not in alert}
    assert at_once - {"LabelOverflow", "LedgerDropping"} == OPTIONAL_FOR


def test_rules_are_listed_once(rules):
    """No alert has the name of another, and no series is recorded twice."""
    names = [(r.get("alert"), r.get("record"), str(r.get("labels", {}))) for r in rules]
    assert len(set(names)) == len(names)
