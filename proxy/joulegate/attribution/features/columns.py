"""The columns of the energy model: what each request and each window did, in units that cost energy."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from joulegate.attribution.features.cells import Track
from joulegate.attribution.features.window_features import Claims, WindowFeatures
from joulegate.attribution.maths.arrays import Floats

TEXT_SHAPE = {"step": 90.0, "tok": 1.5, "kv": 1 / 1000, "pf": 1.0, "pfx": 1 / 50_000}
"""Relative cost of a unit of text work (fits of published step energies of 8B to 70B models)."""
LEANS_ON = {"kv": "step", "pfx": "pf"}
"""What context adds to a cost, by the cost that it is added to: both grow together under most loads."""
MOST_LEANING = 10.0
"""Times the usual proportion that such an addition can be. A step reads all weights and the cached tokens:
one token is 1/120,000 of an 8B model (128 KiB, grouped queries), 1/10,000 of a 0.3B one. Usual: 1/90,000."""
IMAGE_SHAPE = {"step": 0.15, "mps": 1.0, "mps2": 0.3, "mpn": 2.0}
CLOCKS_UP = 0.5
"""Power of clocks up with nothing computed, as part of idle power: it cannot be seen under load."""
TEXT_UNIT_J = 0.02
"""Cost of one unit of the text shape before anything was measured, about an 8B model on an H100."""
IMAGE_UNIT_J = 35.0


TAILS_S = ((0.0, 0.05), (0.05, 0.2), (0.2, 0.6), (0.6, 2.0))
"""Seconds since a request was present: clocks stay up for a while, and that is idle power by convention."""
TAIL_NAMES = tuple(f":tail{place}" for place in range(len(TAILS_S)))
FOREIGN = ":foreign"
"""Name of the column of foreign processes: seconds of the devices' time that they used."""
EXTRA_NAMES = (*TAIL_NAMES, FOREIGN)
"""Columns that no request pays for; they stand last."""
USUAL_TAIL_S = 0.2
"""Seconds over which clocks stay up before anything was measured."""


class Matrix(Struct, frozen=True):
    """The work in some windows, by request and window."""

    names: list[str]
    """Of the columns: track and feature, for example ``llm/llm:step``."""
    claims: Claims
    """A row of features for each request and window; the last column is the presence in s."""
    windows: Floats
    """Sums of the features by window."""
    active: Floats
    """Time in each window in which a request was present, in s."""
    seconds: Floats
    """Length of each window."""
    doubt: Floats
    """Prefilled tokens in each window whose instant was guessed."""
    unsure: Floats
    """Seconds of presence in each window of requests whose work cannot be placed yet."""
    tails: Floats
    """Seconds of each window, by the time since a request was present."""
    cells: Floats
    """Sums of the features by cell."""
    fixed: Floats
    """Energy of idling and of clocks that are up, by cell, in J."""
    unsure_cells: Floats
    """``unsure`` by cell."""


def columns(features: WindowFeatures) -> Matrix:
    """Return the columns of some windows' features."""
    names = [
        f"{name}:{feature}" for name, track in features.tracks.items() for feature in feature_names(track)
    ]
    total, parts, first = features.present(), [], 0
    active = features.active()
    share = np.divide(active, total, out=np.zeros_like(total), where=total > 0)
    for name, track in features.tracks.items():
        values = np.zeros((len(track.cell), len(names) + 1))
        for place, column in enumerate(_values(track), start=first):
            values[:, place] = column
        values[:, -1] = track.present * share[track.cell]
        parts.append(features.gather(name, track, values))
        first += len(feature_names(track))
    claims = Claims.join(parts) if parts else Claims.none((1,))
    sums = np.zeros((features.cells.windows, len(names) + 1))
    np.add.at(sums, claims.window, claims.value)
    doubt = sum((track.doubt for track in features.tracks.values()), np.zeros(len(features.cells)))
    unsure = sum((track.unsure for track in features.tracks.values()), np.zeros(len(features.cells)))
    return Matrix(
        names=names,
        claims=claims,
        windows=sums[:, :-1],
        active=features.cells.sum_by_window(active),
        seconds=np.diff(features.cells.bounds),
        doubt=features.cells.sum_by_window(doubt),
        unsure=features.cells.sum_by_window(unsure),
        tails=np.column_stack([features.cells.sum_by_window(tail) for tail in _tails(features, active)]),
        cells=_by_cell(features),
        fixed=features.devices.idle_power * (features.cells.width + CLOCKS_UP * active),
        unsure_cells=unsure,
    )


def feature_names(track: Track) -> list[str]:
    """Return the names of a track's features."""
    return ["step", *track.columns]


def shape(name: str) -> float:
    """Return the relative cost of a unit of a column."""
    track, _, feature = name.rpartition(":")
    return (IMAGE_SHAPE if track.endswith("/image") else TEXT_SHAPE)[feature]


def leaning(names: Sequence[str]) -> Floats:
    """Return a matrix that maps any costs of at least 0 into the cone of possible ones.

    A column ``kv`` becomes a step with as much context cost as there can be; columns of costs add up to it.
    """
    place = {name: at for at, name in enumerate(names)}
    found = np.eye(len(names))
    for name, at in place.items():
        track, _, feature = name.rpartition(":")
        base = place.get(f"{track}:{LEANS_ON.get(feature, '')}")
        if base is not None:
            found[base, at] = 1.0
            found[at, at] = MOST_LEANING * shape(name) / shape(names[base])
    return found


def unit(name: str) -> float:
    """Return the cost in J of one unit of a column before anything was measured."""
    track = name.rpartition(":")[0]
    return shape(name) * (IMAGE_UNIT_J if track.endswith("/image") else TEXT_UNIT_J)


def _tails(features: WindowFeatures, active: Floats) -> list[Floats]:
    """Return the idle seconds of each cell by the time since a request was present."""
    edges, width = features.cells.edges, features.cells.width
    busy = np.where(active > 0.5 * width, edges[1:], -np.inf)
    since = edges[:-1] - np.maximum.accumulate(busy)
    return [np.where((since >= low) & (since < high), width - active, 0.0) for low, high in TAILS_S]


def tail_prior(idle_power: float) -> Floats:
    """Return the power of clocks that are still up, before anything was measured, in W."""
    return np.array([CLOCKS_UP * idle_power if high <= USUAL_TAIL_S else 0.0 for _, high in TAILS_S])


def _by_cell(features: WindowFeatures) -> Floats:
    found = [
        column
        for track in features.tracks.values()
        for column in (track.steps(), *(track.per_cell(values) for values in track.columns.values()))
    ]
    return np.column_stack(found) if found else np.zeros((len(features.cells), 0))


def _values(track: Track) -> list[Floats]:
    steps = track.steps()[track.cell] * track.part_share()
    return [steps, *track.columns.values()]
