"""What leaves the meter is in base units."""

from typing import Any

import pytest

from joulegate.errors import ConfigError
from joulegate.ledger.rows import BooksTotal
from joulegate.meter.admin.views import books_views, instant, request_view
from joulegate.meter.requests.settlement import Settlement
from joulegate.units import Microjoules, Nanoseconds

WALL = Nanoseconds(1_000_000 * 10**9)


def test_a_request_is_in_joules_and_seconds(settlement: Settlement, attributor: Any, words: Any) -> None:
    """State, boundary, method and error bar stand beside the figure; the unknown is null."""
    for event in (words.opened("a"), words.closed("a")):
        settlement.event("gate", event)
    attributor.give([words.settled("a", 2_500_000, final=False)])
    settlement.advance(words.at(4), words.at(1_004))
    record = settlement.find("a")
    assert record is not None
    view = request_view(record, "gpu")
    assert (view.state, view.energy_joules, view.sigma_joules, view.method, view.boundary) == (
        "provisional", 2.5, None, "tokens", "gpu",
    )  # fmt: skip
    assert (view.started, view.duration_seconds, view.emissions) == (1_001.0, 1.0, None)
    assert view.facts == {"completion_tokens": (5, "reported")}


def test_books_are_in_joules(words: Any) -> None:
    """The four accounts, the gap and the proof."""
    books = BooksTotal(
        device=words.gpu,
        counter=Microjoules(6_000_000),
        requests=Microjoules(3_000_000),
        idle=Microjoules(2_000_000),
        unattributed=(("foreign", Microjoules(1_000_000)),),
        gap=Nanoseconds(500_000_000),
    )
    (view,) = books_views([books])
    assert (view.measured_joules, view.requests_joules, view.idle_joules) == (6, 3, 2)
    assert (view.unattributed_joules, view.gap_seconds, view.error_microjoules) == ({"foreign": 1}, 0.5, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24 h", 1_000_000 - 86_400),
        ("1970-01-02", 86_400),
        ("1970-01-02T01:00+01:00", 86_400),
        ("12.5", 12.5),
    ],
)
def test_a_time_may_be_written_in_the_forms_that_people_use(text: str, seconds: float) -> None:
    """A duration counts back from now; a time without a zone is UTC."""
    assert instant(text, WALL) == seconds * 10**9


@pytest.mark.parametrize(
    "text", ["", "yesterday", "99999-01-01", "1.2.3", "\N{SUPERSCRIPT TWO}", "-5", "9" * 30]
)
def test_a_time_that_is_none_names_the_forms(text: str) -> None:
    """The message has examples."""
    with pytest.raises(ConfigError, match="write '24 h'"):
        instant(text, WALL)
