import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate_exporters._labels import LONGEST, OTHER, Guard, clean

ANYTHING = st.text(st.characters(exclude_categories=()))


@given(ANYTHING)
def test_clean_is_printable(value):
    """A clean value encodes, prints, is bounded and never empty; cleaning it again changes nothing."""
    label = clean(value)
    assert label.encode()
    assert label.isprintable()
    assert 0 < len(label) <= LONGEST
    assert clean(label) == label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("google/gemma-3:latest", "google/gemma-3:latest"),
        ("", "unknown"),
        (" \t", "\N{REPLACEMENT CHARACTER}"),
        ("a\x00b\ud800\u202e", "a\ufffdb\ufffd\ufffd"),
        ("モデル", "モデル"),
        ("x" * 1_000_000, "x" * LONGEST),
    ],
)
def test_clean(value, label):
    """Ordinary names stay; what could harm a page or mislead an eye is replaced."""
    assert clean(value) == label


@given(st.lists(ANYTHING, max_size=60))
def test_guard_is_bounded(values):
    """There are never more labels than the bound, and a value keeps the label that it once had."""
    guard = Guard(5)
    first = {value: guard.admit(value) for value in values}
    assert len({*first.values(), OTHER}) <= 5
    kept = {value: label for value, label in first.items() if label != OTHER}
    assert {value: guard.admit(value) for value in kept} == kept


def test_guard_counts_what_it_refuses():
    """Each refusal for want of room is counted; a value that may take no place is not."""
    guard = Guard(2)
    assert [guard.admit(v) for v in ("a", "b", "a", "other", "c")] == ["a", OTHER, "a", OTHER, OTHER]
    assert guard.overflows == 2
    assert [guard.known(v) for v in ("a", "z")] == ["a", OTHER]
    assert guard.overflows == 2
