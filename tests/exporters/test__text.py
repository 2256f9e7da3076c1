import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser
from prometheus_client.exposition import generate_latest as text_page
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_page

from joulegate_exporters._text import OPENMETRICS, TEXT, Renderer, negotiate
from joulegate_exporters.catalogue import by_name

BOUNDS = by_name()["request_duration_seconds"].bounds
FORMATS = [
    (TEXT, parser.text_string_to_metric_families, text_page),
    (OPENMETRICS, openmetrics_parser.text_string_to_metric_families, openmetrics_page),
]


class Families:
    """Families that have been read, as a collector of prometheus-client."""

    def __init__(self, families):
        self._families = families

    def collect(self):
        return self._families


PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", TEXT),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("text/plain;version=1.0.0;q=0.9, application/openmetrics-text;q=0.1", TEXT),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=nonsense", TEXT),
        (";;,,q=", TEXT),
    ],
)
def test_negotiation(accept, content_type):
    """Scrapers get the format that they prefer, everything else gets plain text."""
    assert negotiate(accept) == content_type


@given(st.text())
def test_negotiation_never_fails(accept):
    """No ``Accept`` header breaks a scrape."""
    assert negotiate(accept) in (TEXT, OPENMETRICS)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_escaping(value):
    """A label value comes back as it went in."""
    page = Renderer().page({"inflight_requests": {(value,): 1}}, {}, TEXT).decode()
    ((sample,),) = (family.samples for family in parser.text_string_to_metric_families(page))
    assert sample.labels == {"upstream": value}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("gpu_power_watts", 412_250_000, "412.25"),
        ("gpu_power_watts", 0, "0.0"),
        ("gpu_up", 1, "1"),
        ("gpu_power_watts", 2**70, "1180591620717411.2"),
    ],
)
def test_numbers(name, value, text):
    """Inner units become base units at this door, with full precision."""
    page = Renderer().page({name: {("0",): value}}, {}, TEXT).decode()
    assert page.splitlines()[-1] == f'joulegate_{name}{{gpu="0"}} {text}'


def test_empty_families_are_left_out():
    """A family without samples is not on the page."""
    assert Renderer().page({}, {}, TEXT) == b""
    assert Renderer().page({}, {}, OPENMETRICS) == b"# EOF\n"


@pytest.mark.parametrize(("content_type", "parse", "write"), FORMATS)
@given(values=st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.integers(0, 2**53)))
def test_a_page_is_what_prometheus_client_writes(content_type, parse, write, values):
    """The official writer, given what the official parser reads of a page, writes the same lines."""
    counts = {"counter_resets_total": {(name,): value for name, value in values.items()}}
    buckets = {"request_duration_seconds": {("chat", "m"): (*[1] * len(BOUNDS), 2, 3_000_000_000)}}
    page = Renderer().page(counts, buckets, content_type).decode()
    families = list(parse(page))
    again = write(Families(families)).decode()
    assert sorted(numbers(again), key=str) == sorted(numbers(page), key=str)


PAIR = re.compile(r'\w+="(?:[^"\\\\]|\\\\.)*"')


def numbers(page):
    """The lines of a page with the labels sorted and each value as a number: the writers differ in both."""
    for line in page.split("\n"):
        if not line or line.startswith("#"):
            yield line
        else:
            series, _, value = line.rpartition(" ")
            yield series.partition("{")[0], sorted(PAIR.findall(series)), float(value)
