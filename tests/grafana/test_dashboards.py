"""The rules of Grafana's dashboard linter, which is no Python program, and some of our own."""

import re
import subprocess
import sys

import promql_parser
import pytest

UNITS = {"joule", "watt", "kwatth", "watth", "massg", "masskg", "percentunit", "none", "short", "s"}
"""Identifiers of units that @grafana/data knows, those in use here."""


def test_board_is_built(grafana, tmp_path):
    """The committed board is what grafana/build.py writes."""
    subprocess.run([sys.executable, grafana / "build.py", tmp_path], check=True)
    for file in (grafana / "dashboards").iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), "python grafana/build.py"
    assert len(list(tmp_path.iterdir())) == len(list((grafana / "dashboards").iterdir()))


def test_board_is_not_editable(board):
    """A provisioned board is changed in its source, and opens without an identity of its own."""
    assert board["editable"] is False
    assert board["id"] is None
    assert board["uid"]
    assert isinstance(board["schemaVersion"], int)


def test_variables(board):
    """There is one data source, and job, instance, task and model take any number of values, or all."""
    source, *queries = board["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert [one["name"] for one in queries] == ["job", "instance", "task", "model"]
    for one in queries:
        assert one["datasource"]["uid"] == "${datasource}"
        choice = {key: one[key] for key in ("multi", "includeAll", "allValue")}
        assert choice == {"multi": True, "includeAll": True, "allValue": ".+"}
        assert one["label"]


def test_panels_explain_themselves(board):
    """Every panel has a title, a question that it answers, a unit, and the chosen data source."""
    assert len(board["panels"]) >= 12
    for panel in board["panels"]:
        assert panel["title"]
        assert len(panel["description"]) > 20
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        for override in panel["fieldConfig"]["overrides"]:
            assert {p["value"] for p in override["properties"] if p["id"] == "unit"} <= UNITS


def test_titles_and_targets_are_told_apart(board):
    """No two panels have the same title, and no two targets of a panel the same letter."""
    titles = [panel["title"] for panel in board["panels"]]
    assert len(set(titles)) == len(titles)
    for panel in board["panels"]:
        letters = [one["refId"] for one in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_panels_fill_the_grid(board):
    """Panels do not overlap and do not leave the grid of 24 columns."""
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert {x for x, _ in cells} == set(range(24))


def test_queries_select_job_and_instance(board):
    """Every selector of every query keeps to the chosen jobs and instances."""
    for panel in board["panels"]:
        for one in panel["targets"]:
            for selector in re.findall(r"joulegate_\w+(\{[^}]*\})?", one["expr"]):
                assert 'job=~"$job"' in selector, one["expr"]
                assert 'instance=~"$instance"' in selector, one["expr"]


def test_queries_parse(board_queries):
    """Every query is PromQL."""
    for _, query in board_queries:
        assert promql_parser.parse(query) is not None


def test_queries_ask_for_what_is_exported(board_queries, metrics_in, exported):
    """Every metric of the board is one that joulegate exports."""
    for title, query in board_queries:
        assert metrics_in(query), title
        assert metrics_in(query) <= exported, title


def test_variables_ask_for_what_is_exported(board, metrics_in, exported):
    """Every metric of the variables is one that joulegate exports."""
    for one in board["templating"]["list"][1:]:
        assert metrics_in(one["query"]["query"]) <= exported


def test_counters_are_under_a_rate(board):
    """A counter is never drawn as it stands, and a rate has the interval that fits the scrape."""
    counter = r"joulegate_\w+(?:_total|_sum|_count|_bucket)\b"
    for panel in board["panels"]:
        for one in panel["targets"]:
            ranged = re.findall(rf"(\w+)\({counter}\{{[^}}]*\}}\[([^]]+)\]", one["expr"])
            assert len(ranged) == len(re.findall(counter, one["expr"])), one["expr"]
            assert set(ranged) <= {("rate", "$__rate_interval"), ("increase", "$__range")}


@pytest.mark.parametrize(
    ("metric", "purpose"),
    [
        ("joulegate_energy_kwh_total", "kWh"),
        ("joulegate_co2e_kilograms_total", "kg CO2e"),
        ("joulegate_request_energy_joules_sum", "joules per request"),
        ("joulegate_gpu_power_watts", "watts per GPU"),
        ("joulegate_gpu_attributed_joules_total", "idle share"),
        ("joulegate_conservation_error_microjoules", "the conservation line"),
        ("joulegate_budget_used_joules", "budget gauge"),
        ("joulegate_upstream_replica_up", "replicas that are down"),
        ("joulegate_upstream_replica_inflight_requests", "requests by replica"),
        ("joulegate_energy_source_info", "tier and boundary, without which no figure is shown"),
    ],
)
def test_board_answers(board_queries, metric, purpose):
    """The board shows what its users ask for."""
    assert any(metric in query for _, query in board_queries), purpose
