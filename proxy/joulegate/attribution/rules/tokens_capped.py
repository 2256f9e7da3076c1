"""Work shares under a cap: what the cap cuts off is unattributed. A baseline of some tools."""

import numpy as np

from joulegate.attribution.features.cells import ratio
from joulegate.attribution.features.window_features import Claims, Shares, WindowFeatures
from joulegate.attribution.maths.arrays import Floats
from joulegate.attribution.rules.tokens import Rule as Tokens
from joulegate.units import Nanoseconds

CAP_ONE_DEVICE = 0.25
CAP_SEVERAL = 0.10


class Rule:
    """Splits each cell by work, no request above the cap."""

    name = "tokens-capped"
    learns = False
    queue_pays = False

    def fit(self, features: WindowFeatures | None, idle_power: float, now: Nanoseconds) -> None:
        """Learn nothing."""

    def share(self, features: WindowFeatures, *, learn: bool) -> Shares:  # noqa: ARG002
        """Return at most the cap of each cell's energy for each request."""
        cap = CAP_ONE_DEVICE if features.devices.count == 1 else CAP_SEVERAL
        return cap_cells(features, cap, Tokens().weights(features), self.name)


def cap_cells(features: WindowFeatures, cap: float, weights: dict[str, Floats], method: str) -> Shares:
    """Split each cell's energy by min(share, cap); the rest is unattributed, or idle if there was no work."""
    total = np.zeros(len(features.cells))
    for name, track in features.tracks.items():
        total += track.per_cell(weights[name])
    energy, claims, taken = features.cell_energy(), [], np.zeros(len(features.cells))
    for name, track in features.tracks.items():
        share = ratio(weights[name], total[track.cell])
        part = np.minimum(share, cap) * energy[track.cell]
        taken += track.per_cell(part)
        claims.append(features.gather(name, track, part))
    rest = features.cells.sum_by_window(np.where(total > 0, np.maximum(energy - taken, 0.0), 0.0))
    idle = features.cells.sum_by_window(np.where(total > 0, 0.0, energy))
    return Shares(Claims.join(claims), idle, rest + features.foreign_energy(), method)
