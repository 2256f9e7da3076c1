"""Everything that a rule looks at: consecutive windows with their energy, and the work in them."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from joulegate.attribution.features.cells import Cells, Track, sums
from joulegate.attribution.input.foreign import Load
from joulegate.attribution.input.request import AttributedSpan
from joulegate.attribution.maths.arrays import Floats, Ints


class Scene:
    """One stretch of time of one GPU group."""

    def __init__(
        self,
        cells: Cells,
        energy: Floats,
        tracks: dict[str, Track],
        *,
        idle_power: float,
        idle_known: bool,
        devices: int,
        starts: Sequence[int],
        edges: Floats,
        lag: float,
        lags: Sequence[float],
        slow: bool,
        load: Load | None = None,
    ) -> None:
        self.cells = cells
        self.energy = energy
        """Measured energy of each window in J, summed over the group's devices."""
        self.tracks = tracks
        """By upstream and kind, for example ``llm/llm``."""
        self.idle_power = idle_power
        """W of the whole group with nobody present."""
        self.idle_known = idle_known
        """It was learned or given, not assumed."""
        self.devices = devices
        self.starts = starts
        """Identity of each window: its start in ns."""
        self.edges = edges
        """Counter edges: times in s, lag taken off, and energy in J since the first."""
        self.lag = lag
        self.load = load or Load.none(cells.windows)
        """What is known of processes on the devices."""
        self.slow = slow
        """The readings are means over a second."""
        self.lags = lags
        """Lags in s that the counters can have."""
        self.spans: list[AttributedSpan] = [span for track in tracks.values() for span in track.spans]
        self.offsets = dict(
            zip(tracks, np.cumsum([0, *(len(t.spans) for t in tracks.values())]), strict=False)
        )

    def note(self) -> None:
        """Keep with each request what its error bar needs."""
        for track in self.tracks.values():
            service, guessed = track.service.tolist(), track.guessed.tolist()
            for span, seconds, guess in zip(track.spans, service, guessed, strict=True):
                span.service, span.guessed, span.unsure_cache = seconds, guess, track.hidden_cache

    def present(self) -> Floats:
        """Return the seconds of presence in each cell, summed over all requests."""
        total = np.zeros(len(self.cells))
        for track in self.tracks.values():
            total += track.per_cell(track.present)
        return total

    def active(self) -> Floats:
        """Return the time of each cell in which somebody was present."""
        return np.minimum(self.cells.width, self.present())

    def cell_energy(self) -> Floats:
        """Return the energy of each cell in J, less the strangers' part; even between counter edges."""
        found = np.diff(np.interp(self.cells.edges, self.edges[0], self.edges[1]))
        total = self.cells.sum_by_window(found)
        ours = self.energy - self.foreign_energy()
        scale = np.divide(ours, total, out=np.zeros_like(total), where=total > 0)
        energy: Floats = found * scale[self.cells.window]
        return energy

    def foreign_energy(self) -> Floats:
        """Return the strangers' energy of each window in J, by the time that they had the devices."""
        energy: Floats = self.energy * self.load.taken
        return energy

    def gather(self, name: str, track: Track, values: Floats) -> "Claims":
        """Return the sums of a value a pair by window and request."""
        window = self.cells.window[track.cell]
        key = (track.request + int(self.offsets[name])) * self.cells.windows + window
        if len(key) == 0:
            return Claims.none(values.shape[1:])
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(key)) + 1])
        request, window = np.divmod(key[bounds], self.cells.windows)
        return Claims(window, request, np.add.reduceat(values, bounds, axis=0))


class Claims(Struct):
    """Values by window and request, as parallel arrays."""

    window: Ints
    request: Ints
    """Place in ``Scene.spans``."""
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


class Shares(Struct):
    """A rule's verdict: joules by window and account. Only their proportions in a window count."""

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
