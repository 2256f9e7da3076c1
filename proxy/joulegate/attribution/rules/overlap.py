"""Equal parts: each cell's energy to all who are there, whatever they do.

``overlap`` counts a request from its arrival to its end, queue included; ``overlap-service`` only while it
was being served. Both are baselines: a long prompt costs as much as a short one.
"""

import numpy as np

from joulegate.attribution.features.cells import Track, ratio
from joulegate.attribution.features.window_features import Claims, Scene, Shares
from joulegate.attribution.maths.arrays import Floats


class Rule:
    """Splits each cell by time of presence."""

    learns = False
    lag: float | None = None

    def __init__(self, name: str, *, queue_pays: bool) -> None:
        self.name = name
        self.queue_pays = queue_pays

    def look(self, scene: Scene) -> None:
        """Record nothing."""

    def learn(self, idle_power: float, now: int) -> None:
        """Learn nothing."""

    def share(self, scene: Scene) -> Shares:
        """Return each cell's energy to those present, by their time in it; to idle if there is nobody."""
        return by_cell(scene, {name: track.present for name, track in scene.tracks.items()}, self.name)


def by_cell(scene: Scene, weights: dict[str, Floats], method: str) -> Shares:
    """Split each cell's energy by a weight a pair; a cell without any goes to idle."""
    total = np.zeros(len(scene.cells))
    for name, track in scene.tracks.items():
        total += track.per_cell(weights[name])
    energy = scene.cell_energy()
    rate = ratio(energy, total)
    claims = [
        scene.gather(name, track, weights[name] * rate[track.cell]) for name, track in scene.tracks.items()
    ]
    idle = scene.cells.sum_by_window(np.where(total > 0, 0.0, energy))
    return Shares(Claims.join(claims), idle, scene.foreign_energy(), method)


def normalized(track: Track) -> Floats:
    """Return each pair's part of its upstream's work in its cell; by presence where no work is known."""
    work, present = track.per_cell(track.work)[track.cell], track.per_cell(track.present)[track.cell]
    by_work = ratio(track.work, work)
    by_time = ratio(track.present, present)
    return np.where(work > 0, by_work, by_time)
