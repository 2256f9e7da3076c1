"""Samples as Prometheus text 0.0.4 and as OpenMetrics 1.0.0.

The choice of the format and the figures of the process itself are prometheus-client's. The other families
have a renderer of their own, because a page of 10,000 series takes prometheus-client 0.38 s and this one
0.02 s: label sets are escaped once and kept. A test holds it to what prometheus-client writes.
Sources: prometheus.io/docs/instrumenting/exposition_formats, openmetrics.io/spec (1.0.0).
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.exposition import choose_encoder
from prometheus_client.exposition import generate_latest as text_page
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_page
from prometheus_client.registry import Collector

from joulegate_exporters._tally import Buckets, Counts, LabelValues
from joulegate_exporters.catalogue import FAMILIES, PREFIX, Family, Kind

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiate(accept: str) -> str:
    """Return the content type for an ``Accept`` header, as prometheus-client chooses: the first that fits."""
    try:
        _, chosen = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        return TEXT
    return OPENMETRICS if chosen.startswith("application/openmetrics-text") else TEXT


def library_page(families: Collector, content_type: str) -> bytes:
    """Return families of prometheus-client's own collectors in one of the formats, without end mark."""
    if content_type == TEXT:
        return text_page(families)
    page: bytes = openmetrics_page(families)  # type: ignore[no-untyped-call]
    return page.removesuffix(b"# EOF\n")


class Renderer:
    """Writes pages. Keeps the escaped label sets, whose number the bounds of the labels limit."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, LabelValues], str] = {}

    def page(
        self,
        counts: Mapping[str, Counts],
        buckets: Mapping[str, Buckets],
        content_type: str,
        *,
        more: bytes = b"",
    ) -> bytes:
        """Return the document of all families that have a sample; ``more`` are further families, as text."""
        openmetrics = content_type == OPENMETRICS
        lines: list[str] = []
        for family in FAMILIES:
            samples = [
                *self._plain(family, counts.get(family.name, {})),
                *self._histogram(family, buckets.get(family.name, {})),
            ]
            if samples:
                lines += _openmetrics_head(family) if openmetrics else _text_head(family)
                lines += samples
        page = "".join(f"{line}\n" for line in lines).encode() + more
        return page + b"# EOF\n" if openmetrics else page

    def _plain(self, family: Family, counts: Counts) -> Iterator[str]:
        for labels, value in counts.items():
            yield f"{family.full_name}{self._set(family, labels)} {_number(value, family.scale)}"

    def _histogram(self, family: Family, buckets: Buckets) -> Iterator[str]:
        for labels, (*observed, total) in buckets.items():
            name, inner = family.full_name, self._set(family, labels)
            comma = f"{inner[:-1]}," if inner else "{"
            for bound, count in zip([*family.bounds, None], accumulate(observed), strict=True):
                yield f'{name}_bucket{comma}le="{_bound(bound, family.scale)}"}} {count}'
            yield f"{name}_sum{inner} {_number(total, family.scale)}"
            yield f"{name}_count{inner} {sum(observed)}"

    def _set(self, family: Family, labels: LabelValues) -> str:
        key = (family.name, labels)
        if (kept := self._sets.get(key)) is None:
            kept = self._sets[key] = _label_set(family, labels)
        return kept


def _label_set(family: Family, labels: LabelValues) -> str:
    pairs = zip(family.labels, labels, strict=True)
    inner = ",".join(f'{label.name}="{_escape(value)}"' for label, value in pairs)
    return f"{{{inner}}}" if inner else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: int, scale: int) -> str:
    # Division of two ints is rounded correctly once: the one place where a figure becomes a float.
    return str(value) if scale == 1 else repr(value / scale)


def _bound(bound: int | None, scale: int) -> str:
    return "+Inf" if bound is None else repr(bound / scale)


def _text_head(family: Family) -> tuple[str, str]:
    kind = Kind.GAUGE if family.kind is Kind.INFO else family.kind
    return f"# HELP {family.full_name} {family.help}", f"# TYPE {family.full_name} {kind}"


def _openmetrics_head(family: Family) -> Iterator[str]:
    name = PREFIX + family.name.removesuffix("_total").removesuffix("_info")
    yield f"# TYPE {name} {family.kind}"
    if family.unit:
        yield f"# UNIT {name} {family.unit}"
    yield f"# HELP {name} {family.help}"
