"""The one place that reads clocks."""

import time
from collections.abc import Callable
from typing import cast

from joulegate.units import Nanoseconds

monotonic = cast(Callable[[], Nanoseconds], time.monotonic_ns)
"""Gives the monotonic time of this host: shared by its processes, unaffected by clock changes."""

wall = cast(Callable[[], Nanoseconds], time.time_ns)
"""Gives nanoseconds since the Unix epoch, for stamps that leave the program."""
