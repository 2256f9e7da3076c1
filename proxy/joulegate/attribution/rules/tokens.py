"""Work shares: each cell's energy by the tokens, or megapixel-steps, processed in it.

The first rule and the fall-back of the model. If several upstreams work in a cell, each gets an equal part
first, since their units differ. Its known fault: a prefilled token costs far less than a decoded one.
"""

from joulegate.attribution.features.window_features import Shares, WindowFeatures
from joulegate.attribution.maths.arrays import Floats
from joulegate.attribution.rules.overlap import by_cell, normalized
from joulegate.units import Nanoseconds


class Rule:
    """Splits each cell by work."""

    name = "tokens"
    learns = False
    queue_pays = False

    def fit(self, features: WindowFeatures | None, idle_power: float, now: Nanoseconds) -> None:
        """Learn nothing."""

    def share(self, features: WindowFeatures, *, learn: bool) -> Shares:  # noqa: ARG002
        """Return each cell's energy to the work in it; to idle if there is none."""
        return by_cell(features, self.weights(features), self.name)

    def weights(self, features: WindowFeatures) -> dict[str, Floats]:
        """Return the weight of each pair, by upstream."""
        return {name: normalized(track) for name, track in features.tracks.items()}
