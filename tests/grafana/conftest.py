"""The board and the rules as data, and the series that joulegate exports."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from joulegate_exporters.catalogue import FAMILIES, Kind


@pytest.fixture(scope="session")
def rules(grafana: Path) -> list[dict[str, Any]]:
    """Every recording rule and alert."""
    files = sorted((grafana / "rules").glob("*.yml"))
    documents = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


@pytest.fixture(scope="session")
def exported() -> set[str]:
    """The names of all series on the page."""
    return set(_names())


@pytest.fixture(scope="session")
def metrics_in() -> Callable[[str], set[str]]:
    """Give the exported names that a query uses; names of recording rules hold a colon and are none."""

    def find(query: str) -> set[str]:
        return set(re.findall(r"(?<![\w:])joulegate_\w+(?![\w:])", query))

    return find


def _names() -> Iterator[str]:
    for family in FAMILIES:
        if family.kind is Kind.HISTOGRAM:
            yield from (family.full_name + suffix for suffix in ("_bucket", "_sum", "_count"))
        else:
            yield family.full_name
