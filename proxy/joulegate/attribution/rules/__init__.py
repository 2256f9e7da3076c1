"""The rules by which a window's energy is shared: one file a rule, one small interface."""

from typing import Protocol

from joulegate.attribution.features.window_features import Shares, WindowFeatures
from joulegate.attribution.maths.arrays import Seconds
from joulegate.units import Nanoseconds


class Rule(Protocol):
    """Shares energy among the requests of some windows."""

    name: str
    learns: bool
    """It fits coefficients: its figures are final only after a later fit."""
    queue_pays: bool
    """It shares by the time from arrival to end, not by the work."""

    def fit(self, features: WindowFeatures | None, idle_power: float, now: Nanoseconds) -> Seconds | None:
        """Learn from these windows, fit to all that was learned, and return the counters' lag if it is found.

        Idle power in W. Only rules that learn are asked.
        """
        ...

    def share(self, features: WindowFeatures, *, learn: bool) -> Shares:
        """Share each window's energy among its requests, idle and nobody; learn from the windows before."""
        ...
