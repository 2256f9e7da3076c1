"""The one table of all metric families: exporters, dashboards, rules and ``docs/metrics.md`` follow it.

Names are for ever. A family stands here only if this release fills it. Ratios are never exported: they
live in recording rules, where numerator and denominator are summed apart.

``python -m joulegate_exporters.catalogue`` prints ``docs/metrics.md``.
"""

import sys
from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from joulegate.units import MICRO, NANO, UG_PER_KG, UJ_PER_KWH

PREFIX = "joulegate_"


class Kind(StrEnum):
    """Type of a family, in the words of OpenMetrics 1.0."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Label(Struct, frozen=True):
    """A label with the most values that it ever has, ``other`` included."""

    name: str
    bound: int
    meaning: str


class Family(Struct, frozen=True):
    """One metric family. ``scale`` is how many inner units make one unit outside."""

    name: str
    kind: Kind
    help: str
    origin: str
    """Where the figure comes from."""
    labels: tuple[Label, ...] = ()
    unit: str = ""
    scale: int = 1
    bounds: tuple[int, ...] = ()
    """Upper bounds of a histogram's buckets in inner units, without infinity."""

    @property
    def full_name(self) -> str:
        """Name as scraped."""
        return PREFIX + self.name


TASK = Label(
    "task", 24, "the ten tasks of Luccioni et al. 2023 and later ones; `unknown`; for work that is no "
    "inference its class instead: `model_load`, `self_test`, `admin`, `probe`, `remote`",
)  # fmt: skip
MODEL = Label("model", 64, "the model that answered, else the one asked for; `unknown`; `other`")
UPSTREAM = Label("upstream", 32, "name of the server in the configuration")
REPLICA = Label("replica", 64, "`host:port` of one of the servers of an upstream")
TENANT = Label("tenant", 128, "who pays, known by credential; `none`; `other`")
OUTCOME = Label(
    "outcome",
    13,
    "how the request ended; `cancelled`: its client left; `overran`: and its server worked on",
)
COMPONENT = Label("component", 3, "`gpu`, `cpu`, `dram`")
SHARE = Label("share", 3, "`active`, `idle` (drawn just for being awake), `unsplit`")
GPU = Label("gpu", 16, "index of the GPU; `cpu0`, `dram0`, … for other metered devices")
UUID = Label("uuid", 16, "stable identity of the device")
NAME = Label("name", 16, "product name of the device")
BUCKET = Label("bucket", 3, "`request`, `idle`, `unattributed`")
BOOKS_REASON = Label("reason", 8, "`foreign`, `crash`, `restart`, `meter`; `other`")
WASTE_REASON = Label(
    "reason",
    6,
    "`client_left` (until the server stopped), `server_went_on` (it did not), `upstream_error`, "
    "`truncated`, `upstream_failed`, `orphaned`",
)
CODE = Label("code", 32, "error code of the driver; `other`")
REJECT_REASON = Label("reason", 8, "why a reading made no sense; `other`")
SOURCE = Label("source", 8, "where the figure is read")
TIER = Label("tier", 4, "`counter`, `power`, `estimate` (modelled), `synthetic` (made up)")
BOUNDARY = Label("boundary", 6, "what the figure includes")
ZONE = Label("zone", 4, "ISO 3166 alpha-3 code, `WORLD`, or `custom`")
BASIS = Label("basis", 2, "`location`, `market`")
BUDGET = Label("budget", 64, "name of the budget in the configuration")
DIRECTION = Label("direction", 4, "`input`, `output`; `cached` is a part of input, `reasoning` one of output")
KIND = Label("kind", 32, "kind of server, as in the configuration's `kind`; `auto` while it is not known")
MODEL_KIND = Label("kind", 2, "`task-specific`, `multi-purpose`")
CLASS = Label("class", 6, "`inference`, `model_load`, `admin`, `probe`, `self_test`, `remote`")
PHASE = Label("phase", 2, "`request` (to the upstream), `response` (back to the client)")
REFUSED_REASON = Label(
    "reason",
    8,
    "`version`, `name` (taken by another gate), `order` (of events), `clock`, `silent`, `garbage`; `other`",
)
END = Label("end", 2, "`gate`, `meter`: who did not know it")
LABEL = Label("label", 3, "`model`, `tenant`, `upstream`")
VERSION = Label("version", 1, "version of joulegate")

REQUEST = "each request, when its figure is final"
DEVICE = "books of the device"
READING = "latest reading of the device"
METER = "the meter's status"
CONFIG = "configuration and ledger"

ENERGY_BOUNDS = tuple(4**power * MICRO // 16 for power in range(12))
"""2^-4 J to 2^18 J in powers of four, in microjoules: from a short embedding to a long video."""
DURATION_BOUNDS = tuple(10_000_000 * 2**power for power in range(14))
"""10 ms to 82 s in powers of two, in nanoseconds, the buckets of OpenTelemetry's GenAI durations."""
OVERHEAD_BOUNDS = tuple(25_000 * 2**power for power in range(12))
"""25 µs to 51 ms in powers of two, in nanoseconds."""

_C, _G, _H, _I = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.INFO

FAMILIES: tuple[Family, ...] = (
    # requests
    Family("energy_joules_total", _C, "Energy attributed to requests.", REQUEST,
           (TASK, MODEL, UPSTREAM, COMPONENT, SHARE), "joules", MICRO),
    Family("energy_kwh_total", _C, "Energy attributed to requests, in kilowatt-hours.", REQUEST,
           (TASK, MODEL), "kwh", UJ_PER_KWH),
    Family("co2e_grams_total", _C, "Operational emissions of requests, CO2 equivalent.", REQUEST,
           (TASK, MODEL, BASIS), "grams", MICRO),
    Family("co2e_kilograms_total", _C, "Operational emissions of requests, CO2 equivalent, in kilograms.",
           REQUEST, (TASK, MODEL), "kilograms", UG_PER_KG),
    Family("tenant_energy_joules_total", _C, "Energy attributed to the requests of a tenant.", REQUEST,
           (TENANT, TASK), "joules", MICRO),
    Family("work_energy_joules_total", _C, "Energy attributed to requests, by class of work.", REQUEST,
           (CLASS,), "joules", MICRO),
    Family("wasted_energy_joules_total", _C, "Energy of work that nobody received.", REQUEST,
           (WASTE_REASON,), "joules", MICRO),
    Family("requests_total", _C, "Finished requests.", REQUEST, (TASK, MODEL, UPSTREAM, OUTCOME)),
    Family("unmeasured_requests_total", _C, "Finished requests whose energy is not known.", REQUEST,
           (TASK, MODEL)),
    Family("tokens_total", _C, "Tokens of finished requests, where known.", REQUEST,
           (MODEL, TASK, DIRECTION)),
    Family("images_total", _C, "Images made by finished requests, where known.", REQUEST, (MODEL, TASK)),
    Family("pixel_steps_total", _C, "Pixels times denoising steps of finished requests, where known.",
           REQUEST, (MODEL,)),
    Family("model_info", _I, "What a model was made for, by `[[model]]` or the shipped table; absent if not "
           "known.", CONFIG, (MODEL, MODEL_KIND)),
    Family("request_energy_joules", _H, "Energy of a request.", REQUEST, (TASK, MODEL), "joules", MICRO,
           ENERGY_BOUNDS),
    Family("request_duration_seconds", _H, "Time from a request's arrival to the end of its answer.",
           REQUEST, (TASK, MODEL), "seconds", NANO, DURATION_BOUNDS),
    Family("proxy_overhead_seconds", _H, "Time that the gate itself adds to a request.", REQUEST,
           (PHASE,), "seconds", NANO, OVERHEAD_BOUNDS),
    Family("label_overflow_total", _C, "Records whose label value became `other` because the bound was full.",
           REQUEST, (LABEL,)),
    # the books
    Family("gpu_energy_joules_total", _C, "Measured energy of a device; the buckets of "
           "joulegate_gpu_attributed_joules_total add up to it.", DEVICE, (GPU, UUID, NAME), "joules", MICRO),
    Family("gpu_attributed_joules_total", _C, "Measured energy of a device by where it went.", DEVICE,
           (GPU, BUCKET), "joules", MICRO),
    Family("gpu_unattributed_joules_total", _C, "The unattributed energy of a device by reason.", DEVICE,
           (GPU, BOOKS_REASON), "joules", MICRO),
    Family("conservation_error_microjoules", _G, "Measured energy less requests, idle and unattributed: "
           "always 0.", DEVICE, (GPU,), "microjoules"),
    Family("unbalanced_windows_total", _C, "Closed windows whose books did not balance: always 0.", DEVICE,
           (GPU,)),
    Family("counter_resets_total", _C, "Restarts of a device's energy counter.", DEVICE, (GPU,)),
    Family("energy_rejected_total", _C, "Readings dropped because they made no sense.", DEVICE,
           (GPU, REJECT_REASON)),
    Family("nvml_errors_total", _C, "Failed readings.", DEVICE, (GPU, CODE)),
    Family("sampler_gap_seconds_total", _C, "Time whose energy is not known.", DEVICE, (GPU,), "seconds",
           NANO),
    # devices now
    Family("gpu_power_watts", _G, "Power of a device.", READING, (GPU,), "watts", MICRO),
    Family("gpu_idle_power_watts", _G, "Power of a device with no request present, as learned.", READING,
           (GPU,), "watts", MICRO),
    Family("gpu_power_limit_watts", _G, "Power limit of a device.", READING, (GPU,), "watts", MICRO),
    Family("gpu_up", _G, "Whether a device can be read.", READING, (GPU,)),
    Family("nvml_stalled", _G, "Whether the readings of a device hang or stand still.", READING, (GPU,)),
    Family("sample_age_seconds", _G, "Age of the latest good reading.", READING, (GPU,), "seconds", NANO),
    Family("energy_source_info", _I, "How the energy of a device is known and what it includes.", READING,
           (GPU, SOURCE, TIER, BOUNDARY)),
    # carbon and budgets
    Family("carbon_intensity_grams_per_kwh", _G, "Carbon intensity in force.", CONFIG, (ZONE, SOURCE, BASIS),
           "", MICRO),
    Family("carbon_intensity_age_seconds", _G, "Age of the carbon intensity; of a yearly figure since the "
           "end of its year.", CONFIG, (ZONE,), "seconds",
           NANO),
    Family("budget_limit_joules", _G, "Limit of an energy budget.", CONFIG, (BUDGET,), "joules", MICRO),
    Family("budget_used_joules", _G, "Energy charged to a budget in its present period.", CONFIG, (BUDGET,),
           "joules", MICRO),
    Family("budget_energy_joules_total", _C, "All energy ever charged to a budget.", CONFIG, (BUDGET,),
           "joules", MICRO),
    Family("budget_limit_grams", _G, "Limit of an emissions budget, CO2 equivalent.", CONFIG, (BUDGET,),
           "grams", MICRO),
    Family("budget_used_grams", _G, "Emissions charged to a budget in its present period.", CONFIG,
           (BUDGET,), "grams", MICRO),
    Family("budget_co2e_grams_total", _C, "All emissions ever charged to a budget.", CONFIG, (BUDGET,),
           "grams", MICRO),
    Family("budget_period_seconds", _G, "Length of a budget's present period.", CONFIG, (BUDGET,), "seconds",
           NANO),
    Family("budget_period_end_timestamp_seconds", _G, "End of a budget's present period, Unix time.", CONFIG,
           (BUDGET,), "seconds", NANO),
    # the service
    Family("inflight_requests", _G, "Requests under way.", METER, (UPSTREAM,)),
    Family("upstream_up", _G, "Whether a server answers, of several replicas at least one; absent until "
           "known.", METER, (UPSTREAM, KIND)),
    Family("upstream_replica_up", _G, "Whether a replica answers, the only one as well; absent until known.",
           METER, (UPSTREAM, REPLICA)),
    Family("upstream_replica_inflight_requests", _G, "Requests under way by replica; one that a reload took "
           "out is left out, and its last requests are in `inflight_requests` only.", METER,
           (UPSTREAM, REPLICA)),
    Family("upstream_keeps_working", _G, "Whether a server was last seen to work on for a client that had "
           "left; absent until seen either way.", METER, (UPSTREAM,)),
    Family("settlement_pending_requests", _G, "Requests that ended and have no final figure yet.", METER),
    Family("gates_connected", _G, "Gates that are connected to the meter.", METER),
    Family("channel_dropped_events_total", _C, "Events that gates dropped because their buffer was full.",
           METER),
    Family("channel_refused_connections_total", _C, "Connections that the meter closed for what came over "
           "them.", METER, (REFUSED_REASON,)),
    Family("channel_ignored_parts_total", _C, "Frames, and fields of frames, that one end sent and the other "
           "does not know.", METER, (END,)),
    Family("channel_clock_error_seconds", _G, "Bound on how far a gate's times may be off on the meter's "
           "clock, the largest of all connected gates; 0 on the meter's own host.", METER, (), "seconds",
           NANO),
    Family("observer_parse_failures_total", _C, "Exchanges whose observer gave up.", METER),
    Family("loop_lag_seconds", _G, "Longest stall of a gate's event loop since its last report.", METER, (),
           "seconds", NANO),
    Family("ledger_rows", _G, "Requests in the ledger.", METER),
    Family("ledger_backlog_records", _G, "Records that wait to be written.", METER),
    Family("ledger_lag_seconds", _G, "Age of the oldest record that waits.", METER, (), "seconds", NANO),
    Family("ledger_write_errors_total", _C, "Failed writes to the ledger.", METER),
    Family("ledger_dropped_total", _C, "Records lost because the backlog was full.", METER),
    Family("build_info", _I, "Version of joulegate.", METER, (VERSION,)),
)  # fmt: skip


def by_name() -> dict[str, Family]:
    """Return the families by their short name."""
    return {family.name: family for family in FAMILIES}


def markdown() -> str:
    """Return ``docs/metrics.md``."""
    return "\n".join([*_introduction(), *_family_table(), "", *_label_table(), ""])


def _introduction() -> list[str]:
    return [
        "# Metrics",
        "",
        "<!-- Generated: python -m joulegate_exporters.catalogue > docs/metrics.md -->",
        "",
        "Served on the admin address under `/metrics`, as Prometheus text 0.0.4 or OpenMetrics 1.0.0, as",
        "the scraper asks. Units are base units; a figure that is not known has no series. Ratios are not",
        "exported: they are recording rules (`grafana/rules/joulegate.rules.yml`).",
        "",
        "The counters of requests, devices and budgets go on from the ledger after a restart; histograms and",
        "health counters begin again, which `rate()` and `increase()` understand.",
        "",
        "Work that is no inference (loading a model, administration, probes) is metered like any request,",
        "but its `task` is the class of that work, so that it never enters the figures of a task;",
        "`joulegate_work_energy_joules_total` has the sum of each class. What a server does before or beside",
        "requests, its warm-up for example, is no request's: it is idle or unattributed.",
        "",
        "`process_*` and `python_*` beside them are the CPU time, memory, descriptors and collections of",
        "garbage of the meter's own process, as prometheus-client counts them.",
        "",
        "A model named only in requests that the server refused (4xx) gets no label value of its own.",
        "",
        "Every label has a bound on one host. What lies beyond it is counted under `other`, and",
        "`joulegate_label_overflow_total` rises; no sum loses anything.",
        "",
    ]


def _family_table() -> Iterator[str]:
    yield "| name | type | labels | meaning | from |"
    yield "|---|---|---|---|---|"
    for family in FAMILIES:
        labels = ", ".join(label.name for label in family.labels) or "none"
        yield f"| `{family.full_name}` | {family.kind} | {labels} | {family.help} | {family.origin} |"


def _label_table() -> Iterator[str]:
    yield "| label | at most | values |"
    yield "|---|---|---|"
    labels = {label for family in FAMILIES for label in family.labels}
    for label in sorted(labels, key=lambda label: (label.name, label.meaning)):
        yield f"| `{label.name}` | {label.bound} | {label.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
