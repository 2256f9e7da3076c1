"""The step-clock model: what a step, a token, a cached token and a prefilled one cost, fitted to the counter.

Per upstream a non-negative linear model over the work of each small cell. Its figures are scaled to the
counter in every window, so that drift which is common to all requests cancels.
"""

from collections import OrderedDict

import numpy as np
from msgspec import Struct

from joulegate.attribution.features.columns import (
    CLOCKS_UP,
    EXTRA_NAMES,
    FOREIGN,
    TAIL_NAMES,
    Matrix,
    columns,
    leaning,
    shape,
    tail_prior,
    unit,
)
from joulegate.attribution.features.window_features import Shares, WindowFeatures
from joulegate.attribution.maths.arrays import Floats, Seconds
from joulegate.attribution.maths.fit import BLOCKS, Fit, fit, scales, trust
from joulegate.attribution.rules.lag import LagScan
from joulegate.attribution.rules.scaling import Modelled, scaled
from joulegate.attribution.rules.tokens import Rule as Tokens
from joulegate.units import NANO, Nanoseconds, nanoseconds

FIT_ROW = nanoseconds(1)
"""Time of one row of the fit."""
LEAST_ROWS = 6
LEAST_ACTIVE_S = 0.5
UNSURE_PART = 0.02
"""Part of a row in which a request ran whose work cannot be placed yet: such a row is left out."""
LONG_ROW_FACTOR = 10.0
"""Rows this many times longer than usual hold a hole in the readings."""
MEMORY_S = 1800.0
"""Seconds after which a row counts 1/e."""
KEPT_ROWS = 6000
EXPERIENCED_S = 20.0
"""Seconds in which a request was there until a fit is trusted."""
BUSY_PART = 0.5
"""Part of a row in which a request is there, from which on it shows how far the model is from the counter."""
MOST_MISFIT = 0.35
"""Of a typical row's energy: a fit that is off by more explains nothing, and token shares do better."""


class FitRow(Struct, frozen=True):
    """One window as the fit sees it."""

    work: dict[str, float]
    energy: float
    seconds: float
    active: float
    doubt: float
    unsure: float
    used: float = 0.0
    """Seconds of the devices' time that any process used, as far as it is reported."""


class Rule:
    """Shares by the fitted cost of work."""

    name = "step-clock"
    learns = True
    queue_pays = False

    def __init__(self) -> None:
        self._rows: OrderedDict[Nanoseconds, FitRow] = OrderedDict()
        self._names: list[str] = []
        self._fit: Fit | None = None
        self._scan = LagScan()
        self._plain = Tokens()
        self._misfit = 0.0
        """Median residual of a row, as part of the energy of a usual one."""
        self._off = 0.0
        """Median residual of a busy row, as part of its own energy."""

    def fit(self, features: WindowFeatures | None, idle_power: float, now: Nanoseconds) -> Seconds | None:
        """Learn from these windows, fit to all that was learned, and return the counters' lag if found."""
        if features is not None:
            self._learn(features, columns(features))
        self._refit(idle_power, now)
        return self._scan.lag

    def share(self, features: WindowFeatures, *, learn: bool) -> Shares:
        """Return each window's energy by the modelled cost of the work in it, scaled to the counter."""
        if not learn and self._misfit > MOST_MISFIT:
            return self._plain.share(features, learn=False)
        matrix = columns(features)
        if learn:
            self._learn(features, matrix)
            if self._misfit > MOST_MISFIT:
                return self._plain.share(features, learn=False)
        x, without = self._coefficients(matrix.names)
        fixed = (1 + CLOCKS_UP) * features.devices.idle_power
        work, presence = matrix.claims.value[:, :-1], matrix.claims.value[:, -1]
        ours = 1 - features.load.taken
        static = fixed * presence * ours[matrix.claims.window]
        quiet = features.devices.idle_power * np.maximum(matrix.seconds - matrix.active, 0.0)
        quiet += matrix.tails @ self._tail_power(features.devices.idle_power)
        model = Modelled(
            requests=work @ x + static,
            alternatives=work @ without.T + static[:, None],
            static=static,
            idle=quiet * ours,
            foreign=self._foreign_model(features, matrix, quiet),
            method=self._method,
            misfit=self._off,
        )
        return scaled(features, matrix, model)

    def _tail_power(self, idle_power: float) -> Floats:
        return tail_prior(idle_power) if self._fit is None else self._fit.x[-len(EXTRA_NAMES) : -1]

    def _foreign_model(self, features: WindowFeatures, matrix: Matrix, quiet: Floats) -> Floats:
        """Return what foreign processes draw in each window, by the time that they had the devices."""
        load = features.load
        if self._fit is not None:
            awake = (1 + CLOCKS_UP) * features.devices.idle_power * matrix.active + quiet
            power: Floats = self._fit.x[-1] * load.foreign
            return power * matrix.seconds + load.taken * awake
        return features.foreign_energy()

    @property
    def _method(self) -> str:
        return "estimate" if self._fit is None else "model"

    def _coefficients(self, names: list[str]) -> tuple[Floats, Floats]:
        """Return the coefficients of these columns, and those without each block of the past."""
        if self._fit is None:
            x = np.array([unit(name) for name in names])
            return x, np.tile(x, (BLOCKS, 1))
        place = {name: at for at, name in enumerate(self._names)}
        x = np.array([self._fit.x[place[name]] if name in place else unit(name) for name in names])
        columns = [self._fit.without[:, place[n]] if n in place else np.full(BLOCKS, unit(n)) for n in names]
        return x, np.array(columns).reshape(len(names), BLOCKS).T

    def _learn(self, features: WindowFeatures, matrix: Matrix) -> None:
        """Keep each window's row, in place of an earlier one that knew less, and try the lags."""
        for place, start in enumerate(features.readings.starts):
            self._rows[start] = FitRow(
                dict(zip(matrix.names, matrix.windows[place].tolist(), strict=True))
                | dict(zip(TAIL_NAMES, matrix.tails[place].tolist(), strict=True))
                | {FOREIGN: float(features.load.foreign[place] * matrix.seconds[place])},
                float(features.energy[place]),
                float(matrix.seconds[place]),
                float(matrix.active[place]),
                float(matrix.doubt[place]),
                float(matrix.unsure[place]),
                float((features.load.own + features.load.foreign)[place] * matrix.seconds[place]),
            )
        while len(self._rows) > KEPT_ROWS:
            self._rows.popitem(last=False)
        self._scan.update(features, matrix, self._coefficients(matrix.names)[0])

    def _refit(self, idle_power: float, now: Nanoseconds) -> None:
        names = sorted({name for row in self._rows.values() for name in row.work} - set(EXTRA_NAMES))
        names += EXTRA_NAMES
        table = _grouped(self._rows, names)
        if table is None or len(table.energy) < LEAST_ROWS or table.active.sum() < LEAST_ACTIVE_S:
            return
        rest = table.energy - idle_power * table.seconds - CLOCKS_UP * idle_power * table.active
        own, foreign = len(names) - len(EXTRA_NAMES), table.work[:, -1]
        power = _power_in_use(rest, foreign, table.used)
        usual = _prior(names[:own], table.work[:, :own], rest - power * foreign)
        prior = np.concatenate([usual, tail_prior(idle_power), [power]])
        prefilled = sum(
            (table.work[:, at] for at, n in enumerate(names) if n.endswith(":pf")), np.zeros(len(rest))
        )
        weights = trust(table.doubt, prefilled) * np.exp((table.start - now) / NANO / MEMORY_S)
        self._fit = fit(table.work, rest, prior, weights, leaning(names))
        self._names = names
        self._misfit = self._fit.residual / max(float(np.median(table.energy)), 1e-9)
        self._off = _median_off(np.abs(rest - table.work @ self._fit.x), table)


class FitTable(Struct, frozen=True):
    """Rows of about a second each."""

    start: Floats
    work: Floats
    energy: Floats
    seconds: Floats
    active: Floats
    doubt: Floats
    used: Floats


def _grouped(rows: "OrderedDict[Nanoseconds, FitRow]", names: list[str]) -> FitTable | None:
    if not rows:
        return None
    starts = np.array(list(rows), dtype=np.float64)
    work = np.array([[row.work.get(name, 0.0) for name in names] for row in rows.values()])
    plain = np.array(
        [[row.energy, row.seconds, row.active, row.doubt, row.unsure, row.used] for row in rows.values()]
    )
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(starts // FIT_ROW)) + 1])
    work, plain, starts = np.add.reduceat(work, bounds), np.add.reduceat(plain, bounds), starts[bounds]
    kept = plain[:, 1] <= LONG_ROW_FACTOR * np.median(plain[:, 1])
    kept &= plain[:, 4] <= UNSURE_PART * plain[:, 1]
    work, plain, starts = work[kept], plain[kept], starts[kept]
    return FitTable(starts, work, plain[:, 0], plain[:, 1], plain[:, 2], plain[:, 3], plain[:, 5])


def _median_off(residuals: Floats, table: FitTable) -> float:
    """Return the median residual of rows with a request most of the time, as part of their energy.

    Too little data counts as distance: anything can be fitted to six rows.
    """
    busy = (table.active > BUSY_PART * table.seconds) & (table.energy > 0)
    off = float(np.median(residuals[busy] / table.energy[busy])) if busy.sum() >= LEAST_ROWS else 0.0
    return off + max(1 - float(table.active.sum()) / EXPERIENCED_S, 0.0) ** 2


def _power_in_use(rest: Floats, foreign: Floats, used: Floats) -> float:
    """Return the power in W of a process that has a device to itself, as if all that ran drew alike."""
    seconds = float((used * foreign).sum())
    return max(float((rest * foreign).sum()) / seconds, 0.0) if seconds > 0 else 0.0


def _prior(names: list[str], work: Floats, rest: Floats) -> Floats:
    """Return the usual proportions of costs, at the scale of each upstream."""
    shapes = np.array([shape(name) for name in names])
    tracks = sorted({name.rpartition(":")[0] for name in names})
    member = np.array([[name.rpartition(":")[0] == track for track in tracks] for name in names], dtype=float)
    member = member.reshape(len(names), len(tracks))
    scale = scales((work * shapes) @ member, np.maximum(rest, 0.0))
    return shapes * (member @ scale)
