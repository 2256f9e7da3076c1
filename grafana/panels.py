"""Building blocks of a Grafana dashboard in the classic JSON schema, which Grafana 10.4 to 13 import."""

from typing import Any

Json = dict[str, Any]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
HOST = 'job=~"$job", instance=~"$instance"'
"""Matchers of every query."""
WORK = f'{HOST}, task=~"$task", model=~"$model"'
"""Matchers of queries about requests."""


def target(expr: str, legend: str = "", *, instant: bool = False, table: bool = False) -> Json:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": "table" if table else "time_series",
        "instant": instant,
        "range": not instant,
        "legendFormat": legend or "__auto",
    }


def panel(kind: str, title: str, question: str, targets: list[Json], *, unit: str, **parts: Any) -> Json:
    """One panel; ``question`` is what it answers. ``parts`` are further settings of the panel."""
    field = parts.pop("field", {})
    return {
        "type": kind,
        "title": title,
        "description": question,
        "datasource": DATASOURCE,
        "targets": [one | {"refId": chr(ord("A") + n)} for n, one in enumerate(targets)],
        "fieldConfig": {"defaults": {"unit": unit} | field, "overrides": parts.pop("overrides", [])},
        "options": parts.pop("options", {}),
    } | parts


PLAIN = {"color": {"mode": "fixed", "fixedColor": "text"}}
"""A figure that is neither good nor bad: without it Grafana paints what is above 80 red."""
BY_NAME = {"color": {"mode": "palette-classic-by-name"}}
"""A series has the same colour in every panel."""


def stat(title: str, question: str, expr: str, *, unit: str, **parts: Any) -> Json:
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
    }
    return panel("stat", title, question, [target(expr, instant=True)], unit=unit, options=options, **parts)


LIST: Json = {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True}
TABLE: Json = {"calcs": ["mean"], "displayMode": "table", "placement": "right", "showLegend": True}
"""For wide panels: every series has a line, however many there are."""


def series(
    title: str,
    question: str,
    targets: list[Json],
    *,
    unit: str,
    fill: int = 8,
    stack: str = "none",
    legend: Json | None = None,
    overrides: list[Json] | None = None,
    **field: Any,
) -> Json:
    custom = {
        "drawStyle": "line",
        "fillOpacity": fill,
        "lineWidth": 1,
        "showPoints": "never",
        "stacking": {"group": "A", "mode": stack},
    }
    return panel(
        "timeseries",
        title,
        question,
        targets,
        unit=unit,
        field={"custom": custom} | BY_NAME | field,
        overrides=overrides or [],
        options={
            "legend": legend or LIST,
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def bars(title: str, question: str, expr: str, legend: str, *, unit: str, **parts: Any) -> Json:
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "displayMode": "basic",
        "orientation": "horizontal",
        "namePlacement": "top",
        "text": {"titleSize": 14, "valueSize": 18},
        "showUnfilled": True,
        "valueMode": "color",
    }
    return panel(
        "bargauge", title, question, [target(expr, legend, instant=True)], unit=unit, options=options, **parts
    )


def table(
    title: str,
    question: str,
    columns: list[tuple[str, str, str]],
    *,
    labels: list[str],
    hide: tuple[str, ...] = (),
    sort: str = "",
    widths: dict[str, int] | None = None,
) -> Json:
    """One row a label set, one column a query: ``(name, unit, expr)``.

    ``labels`` come first, in this order; the column ``sort`` has its largest value on top; ``widths`` are in
    pixels, other columns share what is left.
    """
    values = ["Value"] if len(columns) == 1 else [f"Value #{chr(ord('A') + n)}" for n in range(len(columns))]
    names = dict(zip(values, [name for name, _, _ in columns], strict=True))
    overrides = [
        by_name(name, unit=unit) if unit != "short" else by_name(name, unit=unit, decimals=0)
        for name, unit, _ in columns
    ]
    overrides += [by_name(name, **{"custom.width": width}) for name, width in (widths or {}).items()]
    return panel(
        "table",
        title,
        question,
        [target(expr, instant=True, table=True) for _, _, expr in columns],
        unit="none",
        overrides=overrides,
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": [{"displayName": sort, "desc": True}] if sort else [],
        },
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": dict.fromkeys(["Time", *hide], True),
                    "indexByName": {name: place for place, name in enumerate([*labels, *values])},
                    "renameByName": names,
                },
            },
        ],
    )


def by_name(name: str, **settings: Any) -> Json:
    """Settings of one field."""
    return _override("byName", name, settings)


def by_pattern(pattern: str, **settings: Any) -> Json:
    """Settings of the fields whose name has a match of ``pattern``."""
    return _override("byRegexp", f"/{pattern}/", settings)


def painted(name: str, colour: str) -> Json:
    """One field in a colour of its own."""
    return by_name(name, color={"mode": "fixed", "fixedColor": colour})


def _override(matcher: str, options: str, settings: Json) -> Json:
    properties = [{"id": name, "value": value} for name, value in settings.items()]
    return {"matcher": {"id": matcher, "options": options}, "properties": properties}


def steps(*colours: tuple[str, float | None]) -> Json:
    """Thresholds: colours from values on."""
    return {
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"color": c, "value": v} for c, v in colours]},
    }


def query_variable(name: str, label: str, query: str) -> Json:
    """A choice of label values: any number of them, or all."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
    }


def datasource_variable() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "current": {},
        "options": [],
        "hide": 0,
    }


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: list[Json],
    rows: list[tuple[int, list[tuple[int, Json]]]],
) -> Json:
    """Lay panels out: rows of a height, panels of a width (24 make a row)."""
    panels: list[Json] = []
    y = 0
    for height, row in rows:
        x = 0
        for width, one in row:
            panels.append({"id": len(panels) + 1, "gridPos": {"x": x, "y": y, "w": width, "h": height}} | one)
            x += width
        y += height
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["joulegate", "energy"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": variables},
        "annotations": {"list": [alerts_annotation()]},
        "links": [],
        "panels": panels,
    }


def alerts_annotation() -> Json:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"EnergyBudget.*|BooksDoNotBalance", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{budget}}{{gpu}}",
        "step": "60s",
    }
