"""Checked access to fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.errors import TraceError
from joulegate.replay.fields import Document, Row

anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def refusal(value: object, kind: str) -> str:
    row = Row("file:7", {"x": value})
    try:
        getattr(row, kind)("x")
    except TraceError as error:
        return str(error)
    return ""


@given(anything, st.sampled_from(["number", "integer", "text", "numbers", "integers", "part"]))
def test_a_wrong_value_is_a_trace_error_and_nothing_else(value: object, kind: str) -> None:
    """Whatever stands in a field: it is right, or the message has its place and name."""
    message = refusal(value, kind)

    assert not message or message.startswith('file:7: field "x": expected ')
    assert len(message) < 200


def test_a_nested_field_is_named_by_its_path() -> None:
    """Of a row in quotes, of a document bare."""
    with pytest.raises(TraceError, match=r'field "usage\.n": missing'):
        Row("f:1", {"usage": {}}).part("usage").integer("n")
    with pytest.raises(TraceError, match=r"^f: a\.b\.c: missing"):
        Document("f", {"a": {"b": {}}}).part("a").part("b").text("c")


def test_null_is_absent() -> None:
    """A null means the same as no field."""
    assert Row("f:1", {"n": None}).integer_or("n", 3) == 3
