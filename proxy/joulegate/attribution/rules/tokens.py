"""Work shares: each cell's energy by the tokens, or megapixel-steps, processed in it.

The first rule and the fall-back of the model. If several upstreams work in a cell, each gets an equal part
first, since their units differ. Its known fault: a prefilled token costs far less than a decoded one.
"""

from joulegate.attribution.features.window_features import Scene, Shares
from joulegate.attribution.maths.arrays import Floats
from joulegate.attribution.rules.overlap import by_cell, normalized


class Rule:
    """Splits each cell by work."""

    name = "tokens"
    learns = False
    lag: float | None = None
    queue_pays = False

    def look(self, scene: Scene) -> None:
        """Record nothing."""

    def learn(self, idle_power: float, now: int) -> None:
        """Learn nothing."""

    def share(self, scene: Scene) -> Shares:
        """Return each cell's energy to the work in it; to idle if there is none."""
        return by_cell(scene, self.weights(scene), self.name)

    def weights(self, scene: Scene) -> dict[str, Floats]:
        """Return the weight of each pair, by upstream."""
        return {name: normalized(track) for name, track in scene.tracks.items()}
