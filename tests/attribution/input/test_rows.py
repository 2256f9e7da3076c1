"""Requests as rows of numbers."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import (
    CHUNKED,
    ENCODES,
    FINISHED,
    ORPHANED,
    STREAMED,
    WORKS,
    marked,
    table,
)
from joulegate.model import Outcome, ServerTimings
from joulegate.units import Nanoseconds


def test_a_request_that_runs_has_no_end_and_tells_nothing(make: Any) -> None:
    """What is not known is no number, and never zero."""
    row = table([RequestInput(make.opened("a", 1.0), 0, 7)])[0]

    assert (row["start"], row["place"], row["body"]) == (1.0, 7.0, 400.0)
    assert row["end"] == row["left"] == row["limit"] == math.inf
    assert all(math.isnan(row[name]) for name in ("prompt", "out", "prefill", "decode"))


def test_a_row_follows_its_request(make: Any) -> None:
    """Whatever is told changes it."""
    one = RequestInput(make.opened("a", 1.0, max_tokens=64), 0, 0)
    assert table([one])["response"][0] == 0
    one.take(make.chunks("a", [1.5, 1.6]))
    assert table([one])["response"][0] == 8
    told = ServerTimings(prefill=Nanoseconds(2 * 10**8), decode=Nanoseconds(-1))
    one.take(replace(make.closed("a", 3.0, 20, 30), timings=told, client_left=make.ns(2.0)))
    row = table([one])[0]

    assert (row["end"], row["left"], row["limit"]) == (3.0, 2.0, 64.0)
    assert (row["prompt"], row["cached"], row["out"], row["response"]) == (20, 0, 30, 120)
    assert row["prefill"] == pytest.approx(0.2)
    assert math.isnan(row["decode"])


def test_marks_say_what_fits_in_a_bit(make: Any) -> None:
    """Each for itself."""
    stream = RequestInput(make.opened("a", 1.0, stream=True), 0, 0)
    stream.take(make.chunks("a", [1.5]))
    encoding = RequestInput(make.opened("b", 1.0), 0, 1)
    encoding.take(make.closed("b", 2.0, 20, 0))
    orphan = RequestInput(make.opened("c", 1.0), 0, 2)
    orphan.take(make.closed("c", 2.0, outcome=Outcome.ORPHANED))
    refused = RequestInput(make.opened("d", 1.0), 0, 3)
    refused.take(make.closed("d", 2.0, outcome=Outcome.UPSTREAM_REFUSED))
    rows = table([stream, encoding, orphan, refused])

    assert marked(rows, STREAMED).tolist() == [True, False, False, False]
    assert marked(rows, CHUNKED).tolist() == [True, False, False, False]
    assert marked(rows, FINISHED).tolist() == [False, True, False, False]
    assert marked(rows, ENCODES).tolist() == [False, True, False, False]
    assert marked(rows, ORPHANED).tolist() == [False, False, True, False]
    assert marked(rows, WORKS).tolist() == [True, True, True, False]


def test_nobody_is_an_empty_table() -> None:
    """No request, no row."""
    assert len(table([])) == 0
