"""Work shares under a cap: what the cap cuts off belongs to nobody. A baseline of some tools."""

import numpy as np

from joulegate.attribution.features.cells import ratio
from joulegate.attribution.features.window_features import Claims, Scene, Shares
from joulegate.attribution.maths.arrays import Floats
from joulegate.attribution.rules.tokens import Rule as Tokens

CAP_ONE_DEVICE = 0.25
CAP_SEVERAL = 0.10


class Rule:
    """Splits each cell by work, no request above the cap."""

    name = "tokens-capped"
    learns = False
    lag: float | None = None
    queue_pays = False

    def look(self, scene: Scene) -> None:
        """Record nothing."""

    def learn(self, idle_power: float, now: int) -> None:
        """Learn nothing."""

    def share(self, scene: Scene) -> Shares:
        """Return each request at most its cap of each cell's energy."""
        cap = CAP_ONE_DEVICE if scene.devices == 1 else CAP_SEVERAL
        return cap_cells(scene, cap, Tokens().weights(scene), self.name)


def cap_cells(scene: Scene, cap: float, weights: dict[str, Floats], method: str) -> Shares:
    """Split each cell's energy by min(share, cap); the rest is unattributed, or idle if nobody worked."""
    total = np.zeros(len(scene.cells))
    for name, track in scene.tracks.items():
        total += track.per_cell(weights[name])
    energy, claims, taken = scene.cell_energy(), [], np.zeros(len(scene.cells))
    for name, track in scene.tracks.items():
        share = ratio(weights[name], total[track.cell])
        part = np.minimum(share, cap) * energy[track.cell]
        taken += track.per_cell(part)
        claims.append(scene.gather(name, track, part))
    rest = scene.cells.sum_by_window(np.where(total > 0, np.maximum(energy - taken, 0.0), 0.0))
    idle = scene.cells.sum_by_window(np.where(total > 0, 0.0, energy))
    return Shares(Claims.join(claims), idle, rest + scene.foreign_energy(), method)
