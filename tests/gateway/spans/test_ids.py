"""Identities and words from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.gateway.spans.ids import MODEL_LENGTH, SpanIds, client_request_id, model_name
from joulegate.units import Nanoseconds


def test_a_span_id_is_32_hexadecimal_digits_that_sort_by_time() -> None:
    """The ledger's rows lie in the order of their time, and no two requests share an identity."""
    some, others = SpanIds(), SpanIds()
    ids = [some.fresh(Nanoseconds(second * 10**9)) for second in (1_700_000_000, 1_800_000_000)]
    assert all(len(bytes.fromhex(one)) == 16 for one in ids)
    assert ids == sorted(ids)
    assert len({each.fresh(Nanoseconds(0)) for each in (some, others) for _ in range(1000)}) == 2000


@pytest.mark.parametrize("value", [None, b"", b"a b", b"\xff", b"x" * 129, b"a\x00"])
def test_an_unfit_client_request_id_counts_as_absent(value: bytes | None) -> None:
    """What a client sends never becomes a long or unprintable word in our records."""
    assert client_request_id(value) is None


def test_a_fit_client_request_id_is_kept() -> None:
    """A client finds its request again by its own identity."""
    assert client_request_id(b"req-42") == "req-42"


@given(st.text(st.characters(), max_size=600))
def test_any_model_name_is_made_safe(text: str) -> None:
    """A lone surrogate, a NUL or a megabyte in a model's name harms neither logs nor metrics."""
    name = model_name(text)
    assert name is None or (len(name) <= MODEL_LENGTH and name.isprintable())
    assert (name is None) == (not text)
    assert name is None or name.encode()


def test_a_plain_model_name_stays_as_it_is() -> None:
    """The usual name is not touched."""
    assert model_name("meta-llama/Llama-3.1-8B") == "meta-llama/Llama-3.1-8B"
