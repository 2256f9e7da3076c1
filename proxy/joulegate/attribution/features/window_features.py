"""Everything that a rule looks at: consecutive windows with their energy, and the work in them."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from joulegate.attribution.features.cells import Cells, Track, sums
from joulegate.attribution.features.counter_lag import CounterLag
from joulegate.attribution.input.foreign import Load
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.maths.arrays import Floats, Ints
from joulegate.units import Nanoseconds


class WindowReadings(Struct, frozen=True):
    """The readings of the counters in consecutive windows."""

    starts: Sequence[Nanoseconds]
    """Identity of each window."""
    energy: Floats
    """Measured energy of each window in J, summed over the group's devices."""
    edges: Floats
    """Counter edges: times in s, lag taken off, and energy in J since the first."""


class DeviceState(Struct, frozen=True):
    """What is known of the devices of a group."""

    count: int
    idle_power: float
    """Power of the whole group in W with no request present."""
    idle_known: bool = True
    """It was learned or given, not assumed."""


class WindowFeatures:
    """Consecutive windows of one GPU group with their energy, and the work in them. It does not change."""

    def __init__(
        self,
        cells: Cells,
        tracks: dict[str, Track],
        readings: WindowReadings,
        devices: DeviceState,
        lag: CounterLag,
        load: Load | None = None,
    ) -> None:
        self.cells = cells
        self.tracks = tracks
        """By upstream and kind, for example ``llm/llm``."""
        self.readings = readings
        self.devices = devices
        self.lag = lag
        self.load = load or Load.none(cells.windows)
        """What is known of processes on the devices."""
        self.requests: list[RequestInput] = [
            request for track in tracks.values() for request in track.requests
        ]
        self.offsets = dict(
            zip(tracks, np.cumsum([0, *(len(t.requests) for t in tracks.values())]), strict=False)
        )

    @property
    def energy(self) -> Floats:
        """Return the measured energy of each window in J."""
        return self.readings.energy

    def present(self) -> Floats:
        """Return the seconds of presence in each cell, summed over all requests."""
        total = np.zeros(len(self.cells))
        for track in self.tracks.values():
            total += track.per_cell(track.present)
        return total

    def active(self) -> Floats:
        """Return the time of each cell in which a request was present."""
        return np.minimum(self.cells.width, self.present())

    def cell_energy(self) -> Floats:
        """Return the energy of each cell in J, less that of foreign processes; even between counter edges."""
        found = np.diff(np.interp(self.cells.edges, self.readings.edges[0], self.readings.edges[1]))
        total = self.cells.sum_by_window(found)
        ours = self.energy - self.foreign_energy()
        scale = np.divide(ours, total, out=np.zeros_like(total), where=total > 0)
        energy: Floats = found * scale[self.cells.window]
        return energy

    def foreign_energy(self) -> Floats:
        """Return foreign processes' energy in each window in J, by the time that they had the devices."""
        energy: Floats = self.energy * self.load.taken
        return energy

    def gather(self, name: str, track: Track, values: Floats) -> "Claims":
        """Return the values of the track's pairs, summed by window and request."""
        window = self.cells.window[track.cell]
        key = (track.request + int(self.offsets[name])) * self.cells.windows + window
        if len(key) == 0:
            return Claims.none(values.shape[1:])
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(key)) + 1])
        request, window = np.divmod(key[bounds], self.cells.windows)
        return Claims(window, request, np.add.reduceat(values, bounds, axis=0))


class Claims(Struct, frozen=True):
    """Values by window and request as parallel arrays."""

    window: Ints
    request: Ints
    """Place in ``WindowFeatures.requests``."""
    value: Floats

    @classmethod
    def none(cls, shape: tuple[int, ...] = ()) -> "Claims":
        """Return no claims."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, np.empty((0, *shape)))

    @classmethod
    def join(cls, parts: Sequence["Claims"]) -> "Claims":
        """Put claims together."""
        if not parts:
            return cls.none()
        return cls(
            np.concatenate([part.window for part in parts]),
            np.concatenate([part.request for part in parts]),
            np.concatenate([part.value for part in parts]),
        )

    def total(self, windows: int) -> Floats:
        """Return the sum of each window."""
        return sums(self.window, self.value, windows)


class Shares(Struct, frozen=True):
    """How a rule shares windows: joules by window and account. Only their proportions in a window count."""

    claims: Claims
    idle: Floats
    unattributed: Floats
    method: str
    static: Floats | None = None
    """Of each claim, in J: what the devices draw just for being awake."""
    alternatives: Floats | None = None
    """Of each claim, a column for each fit that leaves out a block of the past: in J."""
    misfit: float = 0.0
    """How far a usual second's energy is from what the rule expected, as part of it."""
