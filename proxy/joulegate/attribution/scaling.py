"""Scaling what requests are modelled to cost to what the counter says, window by window.

Whatever drifts in common cancels. What is left over is idle power, or somebody else's.
"""

import numpy as np

from joulegate.attribution.cells import sums
from joulegate.attribution.columns import Matrix
from joulegate.attribution.scene import Claims, Scene, Shares
from joulegate.attribution.stepclock import Floats

SPARE_IDLE = 1.9
"""Idle windows may draw this multiple of idle power: clocks that are still up."""
FOREIGN_SCALE = 1.3
FOREIGN_WINDOWS = 10
"""Windows over which a surplus must last to count as somebody else's work: noise does not."""
AROUND = 7
"""Windows, some two seconds, over which reports on processes and the counter are held together."""


def scaled(
    scene: Scene,
    matrix: Matrix,
    modelled: Floats,
    others: Floats,
    static: Floats,
    quiet: Floats,
    method: str,
    alien: Floats,
) -> Shares:
    """Scale modelled shares to the counter, window by window."""
    windows, window = scene.cells.windows, matrix.claims.window
    total = sums(window, modelled, windows)
    idle = np.where(total > 0, np.minimum(quiet, scene.energy), scene.energy)
    spare = np.maximum(scene.energy - SPARE_IDLE * quiet, 0.0) if scene.idle_known else np.zeros(windows)
    foreign = np.where(total > 0, 0.0, spare)
    excess = scene.energy - np.minimum(quiet, scene.energy)
    foreign = np.where(alien > 0, _beside(excess, total, alien), foreign)
    foreign += _surplus(scene.energy - idle - foreign, total) if method == "model" else 0.0
    idle = np.where(total > 0, idle, scene.energy - foreign)
    measured = np.maximum(scene.energy - idle - foreign, 0.0)
    factor = np.divide(measured, total, out=np.zeros(windows), where=total > 0)[window]
    totals = np.zeros((windows, others.shape[1]))
    np.add.at(totals, window, others)
    rates = np.divide(measured[:, None], totals, out=np.zeros_like(totals), where=totals > 0)
    return Shares(
        claims=Claims(window, matrix.claims.request, modelled * factor),
        idle=idle,
        unattributed=foreign,
        method=method,
        static=np.minimum(static, modelled * factor),
        alternatives=others * rates[window],
    )


def _beside(measured: Floats, modelled: Floats, alien: Floats) -> Floats:
    """Give the strangers' energy by window: what exceeds the requests' own, as much as is told around it.

    Reports of a second do not say in which window a stranger began. The counter does.
    """
    told = alien > 0

    def around(values: Floats) -> Floats:
        whole = np.convolve(np.where(told, values, 0.0), np.ones(AROUND), "full")
        return whole[AROUND // 2 : AROUND // 2 + len(values)]

    both = around(modelled + alien)
    scale = np.divide(around(measured), both, out=np.zeros_like(both), where=both > 0)
    excess = np.where(told, np.maximum(measured - scale * modelled, 0.0), 0.0)
    near = around(excess)
    part = np.divide(scale * around(alien), near, out=np.zeros_like(near), where=near > 0)
    return excess * np.minimum(part, 1.0)


def _surplus(measured: Floats, modelled: Floats) -> Floats:
    """Give what lastingly exceeds the model: load that no request explains."""
    high = (measured > FOREIGN_SCALE * modelled) & (modelled > 0)
    run = np.convolve(high, np.ones(FOREIGN_WINDOWS), "full") >= FOREIGN_WINDOWS
    lasting = np.zeros(len(high), dtype=bool)
    for end in np.flatnonzero(run):
        lasting[max(end - FOREIGN_WINDOWS + 1, 0) : end + 1] = True
    return np.where(lasting & high, measured - FOREIGN_SCALE * modelled, 0.0)
