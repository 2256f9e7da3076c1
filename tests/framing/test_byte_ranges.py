"""The places of the members of an object."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing import spans

VALUES: Any = st.recursive(
    st.none() | st.integers() | st.text(max_size=6) | st.sampled_from(['"', "\\", "{", ']"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
OBJECTS: Any = st.dictionaries(st.text(max_size=4) | st.just('q"'), VALUES, max_size=5)


@given(document=OBJECTS)
def test_spans_are_the_text_of_the_values(document: dict[str, Any]) -> None:
    """Each member of an object has its key and the exact place of its value."""
    text = json.dumps(document, indent=2).encode()
    found = [(span.key, json.loads(text[span.start : span.end])) for span in spans(text)]
    assert found == list(document.items())


def test_spans_tell_members_that_are_there_twice() -> None:
    """Whoever changes a text must know."""
    assert [span.key for span in spans(b'{"a":1,"b":{"a":2},"a":[3]}')] == ["a", "b", "a"]
