"""Records and statuses for exporters."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from joulegate.model import DeviceStatus, MeterStatus, RequestRecord
from joulegate.testing import records
from joulegate_exporters.prometheus import Plugin

Scrape = Callable[..., dict[tuple[str, tuple[tuple[str, str], ...]], float]]


@pytest.fixture(scope="session")
def record() -> RequestRecord:
    """One ordinary final record of 42.5 J."""
    return records.RECORD


@pytest.fixture(scope="session")
def status() -> MeterStatus:
    """One ordinary status whose books balance."""
    return records.STATUS


@pytest.fixture(scope="session")
def device_status() -> DeviceStatus:
    return records.DEVICE


@pytest.fixture(scope="session")
def make_record() -> Callable[..., RequestRecord]:
    """Give a record like the ordinary one with another energy and other fields."""
    return records.record


@pytest.fixture(scope="session")
def scrape() -> Scrape:
    """Scrape an exporter in both formats with the official parsers; they must say the same."""

    def do(plugin: Plugin, status: MeterStatus = records.STATUS) -> dict[Any, float]:
        frozen = plugin.freeze(status)
        text, _ = plugin.render(frozen, "")
        openmetrics, _ = plugin.render(frozen, "application/openmetrics-text; version=1.0.0")
        classic = _samples(parser.text_string_to_metric_families(text.decode()))
        modern = _samples(openmetrics_parser.text_string_to_metric_families(openmetrics.decode()))
        assert classic == modern
        return classic

    return do


def _samples(families: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(found) == len(samples), "a series stands on the page twice"
    return found
