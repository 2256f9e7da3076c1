"""The naive window."""

from typing import Any

import pytest

from joulegate.replay import read
from joulegate.replay.naive import naive_window


def test_each_request_gets_all_that_was_drawn_while_it_was_open(files: Any) -> None:
    """Its energy is power times duration, whoever else was there."""
    trace = read(files.trace, files.samples, files.setup)
    result = naive_window(trace)

    assert result.requests["r0"].energy == pytest.approx(90e6 * 0.441, rel=0.01)


def test_idle_is_when_nobody_was_there(files: Any) -> None:
    """The union of all requests is taken off once."""
    trace = read(files.trace, files.samples, files.setup)
    result = naive_window(trace)

    assert result.books[0].idle == result.books[0].counter - sum(
        figure.energy or 0 for figure in result.requests.values()
    )
    assert result.books[0].unattributed == 0
