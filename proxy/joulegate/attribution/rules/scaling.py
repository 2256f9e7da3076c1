"""Scaling the modelled cost of requests to the counter, window by window.

Whatever drifts in common cancels. What is left over is idle power, or a foreign process's.
"""

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from joulegate.attribution.features.cells import sums
from joulegate.attribution.features.columns import Matrix
from joulegate.attribution.features.window_features import Claims, Shares, WindowFeatures
from joulegate.attribution.maths.arrays import Floats

SPARE_IDLE = 1.9
"""Idle windows may draw this multiple of idle power: clocks that are still up."""
FOREIGN_SCALE = 1.3
FOREIGN_WINDOWS = 10
"""Windows over which a surplus must last to count as foreign work: noise does not."""
BRIEF_REQUEST_S = 0.1
"""Requests that are over sooner draw less than the edges of a window are off by."""
LEAST_ENERGY_J = 1e-12
"""What is modelled to draw less than a millionth of a microjoule shows no scale."""
AROUND_WINDOWS = 7
"""Windows, some two seconds, over which reports on processes and the counter are held together."""


class Modelled(Struct, frozen=True):
    """What a model expects of some windows, in J."""

    requests: Floats
    """Of each claim."""
    alternatives: Floats
    """``requests`` by the fits that leave out a block of the past each, a column a fit."""
    static: Floats
    """Of ``requests``: what the devices draw just for being awake."""
    idle: Floats
    """Of each window."""
    foreign: Floats
    """Of each window: what foreign processes draw."""
    method: str
    misfit: float = 0.0
    """How far a usual second's energy is from what the model expected, as part of it."""


def scaled(features: WindowFeatures, matrix: Matrix, model: Modelled) -> Shares:
    """Return the modelled shares, scaled to the counter window by window."""
    windows, window = features.cells.windows, matrix.claims.window
    energy, total = features.energy, sums(window, model.requests, windows)
    idle = np.where(total > 0, np.minimum(model.idle, energy), energy)
    spare = np.zeros(windows)
    if features.devices.idle_known:
        spare = np.maximum(energy - SPARE_IDLE * model.idle, 0.0)
    foreign = np.where(total > 0, 0.0, spare)
    excess = energy - np.minimum(model.idle, energy)
    foreign = np.where(model.foreign > 0, _beside(excess, total, model.foreign), foreign)
    fitted = model.method == "model"
    foreign += _surplus(energy - idle - foreign, total) if fitted else 0.0
    idle = np.where(total > 0, idle, energy - foreign)
    if fitted:
        brief = sums(window, np.where(_brief(features)[matrix.claims.request], model.requests, 0.0), windows)
        idle = _evened(energy - foreign, idle, total, brief * _quiet_part(matrix))
    measured = np.maximum(energy - idle - foreign, 0.0)
    factor = np.divide(measured, total, out=np.zeros(windows), where=total > 0)[window]
    totals = np.zeros((windows, model.alternatives.shape[1]))
    np.add.at(totals, window, model.alternatives)
    rates = np.divide(measured[:, None], totals, out=np.zeros_like(totals), where=totals > 0)
    return Shares(
        claims=Claims(window, matrix.claims.request, model.requests * factor),
        idle=idle,
        unattributed=foreign,
        method=model.method,
        static=np.minimum(model.static, model.requests * factor),
        alternatives=model.alternatives * rates[window],
        misfit=model.misfit,
    )


def _brief(features: WindowFeatures) -> npt.NDArray[np.bool_]:
    """Return for each request whether it was over in much less than a window."""
    if not features.tracks:
        return np.zeros(0, dtype=bool)
    found: npt.NDArray[np.bool_] = (
        np.concatenate([track.service for track in features.tracks.values()]) < BRIEF_REQUEST_S
    )
    return found


def _quiet_part(matrix: Matrix) -> Floats:
    return np.clip(1 - matrix.active / np.maximum(matrix.seconds, 1e-9), 0.0, 1.0)


def _evened(energy: Floats, idle: Floats, modelled: Floats, movable: Floats) -> Floats:
    """Return the idle energy of windows, with what the counter puts into the wrong one of them taken out.

    An edge is off by some ms. In a window of requests of a few ms each that is as much as several of them
    draw, so they are scaled to the windows around theirs too, as far as there is idle time to make up for
    it: ``movable`` is the part of ``modelled`` for which that holds.
    """
    near = _around(np.where(modelled > 0, energy - idle, 0.0)), _around(modelled)
    scale = np.divide(*near, out=np.zeros_like(idle), where=near[1] > LEAST_ENERGY_J)
    part = np.divide(movable, modelled, out=np.zeros_like(idle), where=modelled > 0)
    found: Floats = idle + part * (energy - idle - np.clip(scale * modelled, 0.0, energy))
    return found


def _around(values: Floats) -> Floats:
    """Return the sums over the windows around each."""
    whole = np.convolve(values, np.ones(AROUND_WINDOWS), "full")
    return whole[AROUND_WINDOWS // 2 : AROUND_WINDOWS // 2 + len(values)]


def _beside(measured: Floats, modelled: Floats, foreign_model: Floats) -> Floats:
    """Return foreign processes' energy by window: what exceeds the requests', as much as reports allow.

    Reports of a second do not show in which window a process began. The counter does.
    """
    reported = foreign_model > 0

    def around(values: Floats) -> Floats:
        return _around(np.where(reported, values, 0.0))

    both = around(modelled + foreign_model)
    scale = np.divide(around(measured), both, out=np.zeros_like(both), where=both > 0)
    excess = np.where(reported, np.maximum(measured - scale * modelled, 0.0), 0.0)
    near = around(excess)
    part = np.divide(scale * around(foreign_model), near, out=np.zeros_like(near), where=near > 0)
    return excess * np.minimum(part, 1.0)


def _surplus(measured: Floats, modelled: Floats) -> Floats:
    """Return what lastingly exceeds the model: load that no request explains."""
    high = (measured > FOREIGN_SCALE * modelled) & (modelled > 0)
    run = np.convolve(high, np.ones(FOREIGN_WINDOWS), "full") >= FOREIGN_WINDOWS
    lasting = np.zeros(len(high), dtype=bool)
    for end in np.flatnonzero(run):
        lasting[max(end - FOREIGN_WINDOWS + 1, 0) : end + 1] = True
    return np.where(lasting & high, measured - FOREIGN_SCALE * modelled, 0.0)
