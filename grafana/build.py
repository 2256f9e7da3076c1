"""Writes the dashboards: ``python grafana/build.py [FOLDER]``."""

import json
import sys
from pathlib import Path

from panels import (
    HOST,
    PLAIN,
    TABLE,
    WORK,
    Json,
    bars,
    by_pattern,
    dashboard,
    datasource_variable,
    painted,
    query_variable,
    series,
    stat,
    steps,
    table,
    target,
)

TEXT = (
    "chat|text-generation|summarization|question-answering|text-classification|token-classification|masked-.*"
)
IMAGE = "image-generation|image-edit"
DASHED = {"fill": "dash", "dash": [10, 10]}
DOTTED = {"fill": "dot", "dash": [0, 10]}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dashboards"
    text = json.dumps(energy_at_a_glance(), indent=2, ensure_ascii=False) + "\n"
    (folder / "energy-at-a-glance.json").write_text(text, encoding="utf-8")


def energy_at_a_glance() -> Json:
    return dashboard(
        "joulegate-energy-at-a-glance",
        "joulegate / Energy at a glance",
        "What inference costs in energy and emissions, by task and model, and whether the books balance.",
        variables(),
        [
            (5, answers()),
            (8, power()),
            (8, per_request()),
            (8, by_task()),
            (8, books()),
            (5, provenance()),
            (8, replicas()),
        ],
    )


def variables() -> list[Json]:
    return [
        datasource_variable(),
        query_variable("job", "Job", "label_values(joulegate_build_info, job)"),
        query_variable("instance", "Instance", 'label_values(joulegate_build_info{job=~"$job"}, instance)'),
        query_variable("task", "Task", f"label_values(joulegate_requests_total{{{HOST}}}, task)"),
        query_variable(
            "model", "Model", f'label_values(joulegate_requests_total{{{HOST}, task=~"$task"}}, model)'
        ),
    ]


def answers() -> list[tuple[int, Json]]:
    energy = f"sum(increase(joulegate_energy_kwh_total{{{WORK}}}[$__range]))"
    mass = f"sum(increase(joulegate_co2e_kilograms_total{{{WORK}}}[$__range]))"
    used = (
        f"joulegate_budget_used_joules{{{HOST}}} / joulegate_budget_limit_joules{{{HOST}}}"
        f" or joulegate_budget_used_grams{{{HOST}}} / joulegate_budget_limit_grams{{{HOST}}}"
    )
    idle = share_of_measured("idle")
    return [
        (
            4,
            stat(
                "Energy today",
                "How much energy did requests take since midnight?",
                energy,
                unit="kwatth",
                timeFrom="now/d",
                field=PLAIN,
            ),
        ),
        (
            4,
            stat(
                "Energy this month",
                "How much energy did requests take this month?",
                energy,
                unit="kwatth",
                timeFrom="now/M",
                field=PLAIN,
            ),
        ),
        (
            4,
            stat(
                "CO2e this month",
                "How much did requests emit this month, by the intensity in force?",
                mass,
                unit="masskg",
                timeFrom="now/M",
                field=PLAIN | {"noValue": "no carbon zone set"},
            ),
        ),
        (
            4,
            stat(
                "Idle share",
                "What part of the measured energy did no request cause?",
                idle,
                unit="percentunit",
                field=steps(("green", None), ("orange", 0.6)) | {"min": 0, "max": 1},
            ),
        ),
        (
            3,
            stat(
                "Books",
                "Is measured energy requests plus idle plus unattributed, to the microjoule?",
                f"max(abs(joulegate_conservation_error_microjoules{{{HOST}}}))",
                unit="none",
                field=steps(("green", None), ("red", 1))
                | {"mappings": [{"type": "value", "options": {"0": {"text": "balanced", "index": 0}}}]},
            ),
        ),
        (
            5,
            bars(
                "Budgets",
                "How much of each budget is used in its present period?",
                used,
                "{{budget}}",
                unit="percentunit",
                field=steps(("green", None), ("orange", 0.8), ("red", 1))
                | {"min": 0, "max": 1, "noValue": "no budget set"},
            ),
        ),
    ]


def of_device(metric: str) -> str:
    """Return a metric by device, where the GPU of index 0 is called ``GPU 0``; others have names already."""
    return f'label_replace({metric}{{{HOST}}}, "gpu", "GPU $1", "gpu", "([0-9]+)")'


def power() -> list[tuple[int, Json]]:
    by_task = f"sum by (task, model) (rate(joulegate_energy_joules_total{{{WORK}}}[$__rate_interval]))"
    return [
        (
            12,
            series(
                "Power by task and model",
                "Which work draws the power? A request appears when its figure is final.",
                [target(by_task, "{{task}} {{model}}")],
                unit="watt",
                fill=40,
                stack="normal",
                legend=TABLE,
                min=0,
            ),
        ),
        (
            12,
            series(
                "Power by device",
                "What do the devices draw now, and what may they draw?",
                [
                    target(of_device("joulegate_gpu_power_watts"), "{{gpu}} {{instance}}"),
                    target(of_device("joulegate_gpu_idle_power_watts"), "{{gpu}} {{instance}} idle"),
                    target(of_device("joulegate_gpu_power_limit_watts"), "{{gpu}} {{instance}} limit"),
                ],
                unit="watt",
                legend=TABLE,
                overrides=[
                    by_pattern(" idle$", **{"custom.lineStyle": DOTTED, "custom.fillOpacity": 0}),
                    by_pattern(" limit$", **{"custom.lineStyle": DASHED, "custom.fillOpacity": 0}),
                ],
                min=0,
            ),
        ),
    ]


def per_request() -> list[tuple[int, Json]]:
    def ratio(labels: str, top: str, bottom: str) -> str:
        return (
            f"sum by ({labels}) (rate({top}[$__rate_interval]))"
            f" / (sum by ({labels}) (rate({bottom}[$__rate_interval])) > 0)"
        )

    request = ratio(
        "task, model",
        f"joulegate_request_energy_joules_sum{{{WORK}}}",
        f"joulegate_request_energy_joules_count{{{WORK}}}",
    )
    token = ratio(
        "task, model",
        f"joulegate_energy_joules_total{{{WORK}}}",
        f'joulegate_tokens_total{{{WORK}, direction="output"}}',
    )
    return [
        (
            9,
            series(
                "Energy per request",
                "What does one request cost, by task and model?",
                [target(request, "{{task}} {{model}}")],
                unit="joule",
                min=0,
            ),
        ),
        (
            9,
            series(
                "Energy per output token",
                "What does one generated token cost, prompt included?",
                [target(token, "{{task}} {{model}}")],
                unit="joule",
                min=0,
            ),
        ),
        (
            6,
            bars(
                "1,000 requests: text against image",
                "What do 1,000 requests for text cost, and 1,000 for images?",
                text_against_image(),
                "{{kind}}",
                unit="watth",
                field=PLAIN | {"min": 0},
                overrides=[painted("text", "blue"), painted("image", "purple")],
            ),
        ),
    ]


def text_against_image() -> str:
    def kinds(metric: str) -> str:
        rate = f'increase({metric}{{{WORK}, task=~"{TEXT}|{IMAGE}"}}[$__range])'
        text = f'label_replace({rate}, "kind", "text", "task", "{TEXT}")'
        return f'sum by (kind) (label_replace({text}, "kind", "image", "task", "{IMAGE}"))'

    total, count = (
        kinds("joulegate_request_energy_joules_sum"),
        kinds("joulegate_request_energy_joules_count"),
    )
    return f"1000 / 3600 * {total} / ({count} > 0)"


def by_task() -> list[tuple[int, Json]]:
    def increase(metric: str) -> str:
        return f"sum by (task, model) (increase({metric}{{{WORK}}}[$__range]))"

    requests, unmeasured = (
        increase("joulegate_requests_total"),
        increase("joulegate_unmeasured_requests_total"),
    )
    measured = f"({requests} - {unmeasured} > 0)"
    energy, mass = increase("joulegate_energy_kwh_total"), increase("joulegate_co2e_kilograms_total")
    columns = [
        ("requests", "short", requests),
        ("energy", "kwatth", energy),
        ("CO2e", "masskg", mass),
        ("energy / request", "joule", f"3.6e6 * {energy} / {measured}"),
        ("energy / 1,000", "kwatth", f"1000 * {energy} / {measured}"),
        ("CO2e / 1,000", "massg", f"1e6 * {mass} / {measured}"),
        ("not measured", "short", unmeasured),
    ]
    return [
        (
            24,
            table(
                "By task and model",
                "What did each task on each model cost in the range shown?",
                columns,
                labels=["task", "model"],
                sort="energy",
            ),
        )
    ]


def books() -> list[tuple[int, Json]]:
    buckets = f"sum by (bucket) (rate(joulegate_gpu_attributed_joules_total{{{HOST}}}[$__rate_interval]))"
    measured = f"sum(rate(joulegate_gpu_energy_joules_total{{{HOST}}}[$__rate_interval]))"
    return [
        (
            12,
            series(
                "Where the measured energy goes",
                "What part served requests, what part was idle, what part has no owner?",
                [target(buckets, "{{bucket}}")],
                unit="watt",
                fill=40,
                stack="normal",
                legend=TABLE,
                overrides=[
                    painted("request", "green"),
                    painted("idle", "blue"),
                    painted("unattributed", "orange"),
                ],
                min=0,
            ),
        ),
        (
            6,
            series(
                "Measured",
                "What do the devices' counters say? The parts on the left add up to it.",
                [target(measured, "measured")],
                unit="watt",
                overrides=[painted("measured", "text")],
                min=0,
            ),
        ),
        (
            6,
            series(
                "Conservation error, µJ",
                "Measured less requests, idle and unattributed: 0 µJ, always.",
                [target(of_device("joulegate_conservation_error_microjoules"), "{{gpu}} {{instance}}")],
                unit="none",
                overrides=[by_pattern(".", **{"custom.axisSoftMin": -1, "custom.axisSoftMax": 1})],
                decimals=0,
            ),
        ),
    ]


def provenance() -> list[tuple[int, Json]]:
    source = f"max by (instance, gpu, source, tier, boundary) (joulegate_energy_source_info{{{HOST}}})"
    intensity = f"max by (zone, source, basis) (joulegate_carbon_intensity_grams_per_kwh{{{HOST}}})"
    return [
        (
            14,
            table(
                "Where the figures come from",
                "Is the energy measured? `estimate` is modelled, `synthetic` is made up.",
                [("Value", "none", source)],
                labels=["instance", "gpu", "source", "tier", "boundary"],
                hide=("Value",),
            ),
        ),
        (
            10,
            table(
                "Carbon intensity",
                "Grams of CO2e for each kWh, and where the figure comes from.",
                [("g/kWh", "none", intensity)],
                labels=["zone", "source", "basis"],
                widths={"zone": 80, "basis": 90, "g/kWh": 80},
            ),
        ),
    ]


def replicas() -> list[tuple[int, Json]]:
    in_flight = (
        f"sum by (instance, upstream, replica) (joulegate_upstream_replica_inflight_requests{{{HOST}}})"
    )
    up = f"joulegate_upstream_replica_up{{{HOST}}}"
    return [
        (
            14,
            series(
                "Requests under way by replica",
                "Do the replicas of an upstream share its requests, and which of them gets none?",
                [target(in_flight, "{{upstream}} {{replica}} {{instance}}")],
                unit="none",
                legend=TABLE,
                decimals=0,
                min=0,
            ),
        ),
        (
            10,
            series(
                "Replicas that answer",
                "How many servers of each upstream answer, and how many are known (dashed)?",
                [
                    target(f"sum by (instance, upstream) ({up})", "{{upstream}} {{instance}}"),
                    target(f"count by (instance, upstream) ({up})", "{{upstream}} {{instance}} known"),
                ],
                unit="none",
                fill=0,
                legend=TABLE,
                overrides=[by_pattern(" known$", **{"custom.lineStyle": DASHED})],
                decimals=0,
                min=0,
            ),
        ),
    ]


def share_of_measured(bucket: str) -> str:
    part = f'sum(increase(joulegate_gpu_attributed_joules_total{{{HOST}, bucket="{bucket}"}}[$__range]))'
    return f"{part} / (sum(increase(joulegate_gpu_energy_joules_total{{{HOST}}}[$__range])) > 0)"


if __name__ == "__main__":
    main()
