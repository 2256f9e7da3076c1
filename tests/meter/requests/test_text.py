"""Names from outside are harmless in files, logs and on screens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.meter.requests.text import LONGEST, clean


@given(st.text(st.characters()))
def test_every_name_can_be_written_and_is_short(text: str) -> None:
    """Lone surrogates, control characters and a megabyte of name harm nobody."""
    found = clean(text * 10)
    assert found is None or (0 < len(found) <= LONGEST and found.isprintable() and found.encode())


@pytest.mark.parametrize(
    ("text", "name"), [("gemma-3:270m", "gemma-3:270m"), ("", None), (None, None), (" a ", "a")]
)
def test_a_plain_name_stays(text: str | None, name: str | None) -> None:
    """What is harmless is kept; nothing is not a name."""
    assert clean(text) == name
