"""The study's table, and never a figure without what it is made of."""

import io
from typing import Any

import pytest
from rich.console import Console

from joulegate.cli.study import notes, significant, table
from joulegate.model import CarbonStatus
from joulegate.report.study import EnergyOrigin, StudyReport, StudyRow
from joulegate.units import Micrograms


def origin(**changes: Any) -> EnergyOrigin:
    values: dict[str, Any] = {
        "device": "GPU-0", "name": "NVIDIA H100", "source": "nvml", "tier": "counter", "note": "",
        "measured_joules": 100.0, "idle_joules": 30.0, "unattributed_joules": 10.0, "error_microjoules": 0,
    }  # fmt: skip
    return EnergyOrigin(**{**values, **changes})


CHAT = StudyRow(
    {"task": "chat", "model": "gemma"}, 100, 3, 60.0, 0.047, 0.0021, 2.63, 3.9, 0.0109, ("tokens",)
)
IMAGE = StudyRow(
    {"task": "image-generation", "model": ""}, 1, 0, 9.0, 2.907, None, None, 242.0, None, ("tokens",)
)


def report(**changes: Any) -> StudyReport:
    values: dict[str, Any] = {
        "since": 0.0,
        "until": 86_400.0,
        "boundary": "gpu",
        "method": "tokens",
        "degraded": "",
        "balanced": True,
        "pending": 0,
        "origins": (origin(),),
        "carbon": CarbonStatus("FRA", "Ember", 2023, "CC BY 4.0", "location", Micrograms(56_000_000), None),
        "rows": (CHAT, IMAGE),
    }
    return StudyReport(**{**values, **changes})


def drawn(found: StudyReport) -> str:
    console = Console(file=io.StringIO(), width=140, highlight=False)
    console.print(table(found))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]  # it is the StringIO


SUMS = "60.000 J requests + 30.000 J idle + 10.000 J unattributed = 100.000 J"


def test_the_table() -> None:
    """Task, model, requests, kWh with deviation, grams, charges and km; what is not known is a dash."""
    _, head, chat, image = (line.split() for line in drawn(report()).splitlines()[:4])
    assert head == ["task", "model", "requests", "/1,000", "±", "std", "/1,000", "charges", "car"]
    assert chat == ["chat", "gemma", "100", "0.0470", "0.00210", "2.63", "3.90", "0.0109"]
    assert image == ["image-generation", "-", "1", "2.91", "-", "-", "242", "-"]


def test_a_narrow_terminal_shows_every_figure_whole() -> None:
    """At 80 columns task and model stand above one another."""
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(table(report(), console.width))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO
    assert lines[2].split() == ["chat", "100", "0.0470", "0.00210", "2.63", "3.90", "0.0109"]
    assert lines[3].strip() == "gemma"


def test_what_is_needed_to_read_it() -> None:
    """Time, boundary, rule, source with tier, carbon and the books."""
    lines = list(notes(report()))
    assert lines == [
        "1970-01-01 00:00 UTC to 1970-01-02 00:00 UTC; boundary gpu; rule tokens",
        "energy: nvml, measured, energy counter: NVIDIA H100 GPU-0",
        "carbon: FRA, 56.0 g/kWh, location-based (Ember, 2023)",
        f"the books balance to the microjoule: {SUMS}",
        "not in the means: 3 requests, failed, cancelled or of unknown energy",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"origins": (origin(tier="estimate"),)}, "MODELLED, not measured"),
        ({"origins": (origin(tier="synthetic"),)}, "MADE UP"),
        ({"balanced": False, "origins": (origin(error_microjoules=-5),)}, "THE BOOKS ARE OFF by 5 µJ"),
        ({"carbon": None}, "no zone, so no CO2e"),
        ({"pending": 4}, "not settled yet: 4 requests"),
        ({"degraded": "NVML is gone"}, "note: NVML is gone"),
        ({"rows": ()}, "no inference request was settled"),
    ],
)
def test_weak_figures_are_named(changes: dict[str, Any], words: str) -> None:
    """A modelled, unbalanced or empty table says so."""
    assert words in drawn(report(**changes))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.0000123, "1.23e-05"),
        (0.000123, "0.000123"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
    ],
)
def test_three_digits(value: float | None, expected: str) -> None:
    """The figures stay comparable by eye."""
    assert significant(value) == expected
