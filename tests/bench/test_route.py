"""How far a request and a chunk walk: the figures are bounds, and the walk sees what there is to see."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINE = re.compile(r"(.+): (\d+) calls, (\d+) modules, (\d+) changes of module, (\d+) objects")
BOUNDS = {
    "warm unary request": (120, 23, 92, 13),
    "one chunk": (4, 4, 3, 0),
    "a hundred chunks": (700, 13, 696, 0),
}
"""Calls, modules, changes of module and objects, at most."""


@pytest.fixture(scope="module")
def routes(root: Path) -> dict[str, tuple[int, ...]]:
    """Gives the figures of each walk by its name."""
    run = [sys.executable, str(root / "bench/route.py")]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [match for line in lines if (match := LINE.match(line))]
    return {match[1]: tuple(map(int, match.groups()[1:])) for match in found}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_walk_is_no_longer_than_it_was(routes: dict[str, tuple[int, ...]], name: str) -> None:
    """A call, a hop or an object more on the way of every request or chunk is a choice, not an accident."""
    calls, modules, changes, objects = routes[name]
    bounds = BOUNDS[name]
    assert calls <= bounds[0], "say why in the commit that raises a bound"
    assert modules <= bounds[1]
    assert changes <= bounds[2]
    assert objects <= bounds[3]


def test_the_walk_sees_gateway_observer_and_channel(routes: dict[str, tuple[int, ...]]) -> None:
    """A request that was refused, or went unheard, would walk a shorter way and make nothing."""
    calls, modules, _, objects = routes["warm unary request"]
    assert calls > 60
    assert modules > 12
    assert objects >= 4
    assert routes["a hundred chunks"][0] > routes["one chunk"][0]
