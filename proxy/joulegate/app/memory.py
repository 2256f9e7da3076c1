"""How often the garbage collector looks at what waits."""

import gc

COLLECT_AFTER = 20_000, 20, 100
"""Thresholds of the garbage collector. A finished request leaves no cycle, so it finds next to nothing; at
Python's own 700 it walks over the kept events several times for each hundred requests."""


def collect_seldom() -> None:
    """Accept what lives as long as the process out of the garbage collector's sight, and call it seldom.

    What exists once per request has no cycles and goes when its last reference does; cycles come from rare
    things such as exceptions and connections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
