import re
import subprocess
import sys
from pathlib import Path

import pytest

from joulegate.model import Outcome, Task, WorkClass
from joulegate_exporters.catalogue import CLASS, FAMILIES, OUTCOME, TASK, Kind, by_name, markdown

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_document_is_current():
    """docs/metrics.md is what the catalogue says."""
    assert DOCUMENT.read_text(encoding="utf-8") == markdown(), (
        "python -m joulegate_exporters.catalogue > docs/metrics.md"
    )


def test_document_is_printed():
    """The module prints the document."""
    done = subprocess.run(
        [sys.executable, "-m", "joulegate_exporters.catalogue"], capture_output=True, text=True, check=True
    )
    assert done.stdout == markdown()


def test_names_are_unique():
    """No name stands twice."""
    assert len(by_name()) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_conventions(family):
    """Names keep the conventions of Prometheus and OpenMetrics: suffixes, units, labels, a full stop."""
    stem = family.name.removesuffix("_total")
    assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    assert family.name.endswith("_info") == (family.kind is Kind.INFO)
    assert stem.endswith(family.unit)
    assert family.help.endswith(".")
    assert family.scale == 1 or family.unit or family.name == "carbon_intensity_grams_per_kwh"
    assert bool(family.bounds) == (family.kind is Kind.HISTOGRAM)
    assert list(family.bounds) == sorted(set(family.bounds))
    names = [label.name for label in family.labels]
    assert len(set(names)) == len(names)
    assert not set(names) & {"le", "id", "request_id", "path", "prompt", "key", "job", "instance"}


def test_closed_labels_fit_their_bounds():
    """Every task, class of work and outcome has a place."""
    assert len(Task) + len(WorkClass) - 1 <= TASK.bound
    assert len(Outcome) <= OUTCOME.bound
    assert len(WorkClass) <= CLASS.bound
