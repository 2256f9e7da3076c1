"""The one place that reads clocks."""

import time

from joulegate.units import Nanoseconds


def monotonic() -> Nanoseconds:
    """Give the monotonic time of this host: shared by its processes, unaffected by clock changes."""
    return Nanoseconds(time.monotonic_ns())


def wall() -> Nanoseconds:
    """Give nanoseconds since the Unix epoch, for stamps that leave the program."""
    return Nanoseconds(time.time_ns())
