"""Equal parts: each cell's energy to all who are there, whatever they do.

``overlap`` counts a request from its arrival to its end, queue included; ``overlap-service`` only while it
was being served. Both are baselines: a long prompt costs as much as a short one.
"""

import numpy as np

from joulegate.attribution.features.cells import Track, ratio
from joulegate.attribution.features.window_features import Claims, Shares, WindowFeatures
from joulegate.attribution.maths.arrays import Floats
from joulegate.units import Nanoseconds


class Rule:
    """Splits each cell by time of presence."""

    learns = False

    def __init__(self, name: str, *, queue_pays: bool) -> None:
        self.name = name
        self.queue_pays = queue_pays

    def fit(self, features: WindowFeatures | None, idle_power: float, now: Nanoseconds) -> None:
        """Learn nothing."""

    def share(self, features: WindowFeatures, *, learn: bool) -> Shares:  # noqa: ARG002
        """Return each cell's energy to those present, by their time in it; to idle if no request is there."""
        return by_cell(features, {name: track.present for name, track in features.tracks.items()}, self.name)


def by_cell(features: WindowFeatures, weights: dict[str, Floats], method: str) -> Shares:
    """Split each cell's energy by a weight a pair; a cell without any goes to idle."""
    total = np.zeros(len(features.cells))
    for name, track in features.tracks.items():
        total += track.per_cell(weights[name])
    energy = features.cell_energy()
    rate = ratio(energy, total)
    claims = [
        features.gather(name, track, weights[name] * rate[track.cell])
        for name, track in features.tracks.items()
    ]
    idle = features.cells.sum_by_window(np.where(total > 0, 0.0, energy))
    return Shares(Claims.join(claims), idle, features.foreign_energy(), method)


def normalized(track: Track) -> Floats:
    """Return each pair's part of its upstream's work in its cell; by presence where no work is known."""
    work, present = track.per_cell(track.work)[track.cell], track.per_cell(track.present)[track.cell]
    by_work = ratio(track.work, work)
    by_time = ratio(track.present, present)
    return np.where(work > 0, by_work, by_time)
