"""The study's table has its units, its equivalents and its origin."""

import pytest

from joulegate.model import ReportRow
from joulegate.report.study import study_row
from joulegate.units import UJ_PER_KWH, Micrograms, Microjoules


def row(mean: float | None, deviation: float | None = None, mass: float | None = None) -> ReportRow:
    return ReportRow(
        group=(("task", "image-generation"), ("model", "sdxl")),
        requests=2,
        others=1,
        energy=Microjoules(3_000_000),
        mean=mean,
        deviation=deviation,
        emissions=None if mass is None else Micrograms(1),
        mean_emissions=mass,
        methods=("tokens",),
    )


def test_the_studys_own_figures_come_out() -> None:
    """11.49 kWh and 1,594 g per 1,000 images are about 950 charges and 6.6 km, as published."""
    found = study_row(row(11.49 * UJ_PER_KWH / 1_000, 0.1 * UJ_PER_KWH / 1_000, 1_594_000.0))
    assert found.group == {"task": "image-generation", "model": "sdxl"}
    assert found.kwh_per_1000 == pytest.approx(11.49)
    assert found.kwh_per_1000_deviation == pytest.approx(0.1)
    assert found.grams_per_1000 == pytest.approx(1_594)
    assert found.charges_per_1000 == pytest.approx(950, rel=0.01)
    assert found.km_per_1000 == pytest.approx(6.6, rel=0.01)
    assert (found.requests, found.others, found.energy_joules) == (2, 1, 3.0)


def test_what_is_not_known_stays_unknown() -> None:
    """No mean, no emissions: no zeros in the table."""
    found = study_row(row(None))
    unknown = (
        found.kwh_per_1000, found.kwh_per_1000_deviation, found.grams_per_1000, found.charges_per_1000,
        found.km_per_1000,
    )  # fmt: skip
    assert unknown == (None,) * 5
