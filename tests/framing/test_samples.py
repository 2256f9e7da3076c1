"""Samples of a Prometheus page."""

import pytest

from joulegate.framing.samples import total


@pytest.mark.parametrize(
    ("page", "sum_of"),
    [
        (b'a{x="1"} 2.0\na{x="2"} 1\nb 4\na_total 9\n', 7),
        (b"a 0", 0),
        (b"b 3", None),
        (b"a 1e300", None),
        (b"a NaN\na 2e0", 2),
        (b"# a 3\nxa 3", None),
    ],
)
def test_families_are_added_up(page: bytes, sum_of: int | None) -> None:
    """All samples of the named families count; without one of the first there is no figure."""
    assert total(b"a", b"b")(page) == sum_of
