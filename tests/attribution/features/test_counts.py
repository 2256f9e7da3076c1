"""Tokens of a request, told or guessed."""

from typing import Any

import pytest

from joulegate.attribution.features.counts import count, encodes
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import table


def whole(make: Any, key: str, start: float, end: float, prompt: int | None, out: int | None) -> RequestInput:
    one = RequestInput(make.opened(key, start, stream=False), 0, 0)
    one.take(make.closed(key, end, prompt, out))
    return one


def test_what_the_server_told_is_taken(make: Any) -> None:
    """Reported counts are no guess."""
    counts = count(table([whole(make, "a", 1.0, 3.0, 120, 40)]), Priors())

    assert (counts.prompt[0], counts.out[0]) == (120, 40)
    assert not counts.guessed_prompt
    assert not counts.guessed_out


def test_what_it_did_not_tell_is_guessed_and_said_so(make: Any) -> None:
    """A prompt of 400 body bytes has about 25 tokens."""
    counts = count(table([whole(make, "a", 1.0, 3.0, None, None)]), Priors())

    assert counts.prompt[0] == pytest.approx(25.2, abs=0.5)
    assert counts.guessed_prompt
    assert counts.guessed_out


def test_only_a_prefill_is_an_encoding(make: Any) -> None:
    """No completion tokens, told by the server."""
    rows = table([whole(make, "a", 1.0, 3.0, 120, 0), whole(make, "b", 1.0, 3.0, 120, None)])

    assert encodes(rows).tolist() == [True, False]
