import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser

from joulegate_exporters._text import OPENMETRICS, TEXT, Renderer, negotiate

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
        ("text/plain;q=0.9, application/openmetrics-text;q=0.1", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("Application/OpenMetrics-Text", OPENMETRICS),
        ("application/openmetrics-text;q=\u00b2", TEXT),
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
    assert Renderer().page({}, {}, TEXT) == b"\n"
    assert Renderer().page({}, {}, OPENMETRICS) == b"# EOF\n"
