"""Small cells of time, and what each request did in each of them.

Cells nest in settlement windows, so no cell belongs to two. A *pair* is a request and a cell in which it
was present; pairs are kept as parallel arrays, ordered by request and then by cell.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulegate.attribution.images import PlacedImage
from joulegate.attribution.placed import Placed
from joulegate.attribution.stepclock import Floats

Ints = npt.NDArray[np.int64]

CELL = 0.010
"""s: width of a cell; finer ones buy nothing while a step takes about as long."""
MOST = 20_000
"""Cells of one window: a window of hours, after a lost device, gets wider ones."""
BRIEF = 1e-4
"""s: the shortest time over which work is spread."""
IMAGE_OVERHEAD_STEPS = 2
"""Text encoder and decoder of an image, in denoising steps."""


def ratio(part: Floats, whole: Floats) -> Floats:
    """Give part / whole, and 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def sums(places: Ints, values: Floats, count: int) -> Floats:
    """Give the sum of the values at each place."""
    return np.bincount(places, weights=values, minlength=count).astype(np.float64)


class Cells:
    """The cells of consecutive windows."""

    def __init__(self, bounds: Sequence[float], width: float = CELL) -> None:
        edges = [np.array(bounds[:1])]
        windows = []
        for place, (start, end) in enumerate(itertools.pairwise(bounds)):
            count = min(max(1, round((end - start) / width)), MOST)
            edges.append(np.linspace(start, end, count + 1)[1:])
            windows.append(np.full(count, place))
        self.edges: Floats = np.concatenate(edges)
        self.window: Ints = np.concatenate(windows) if windows else np.empty(0, dtype=np.int64)
        """Place of the window that each cell lies in."""
        self.width: Floats = np.diff(self.edges)
        self.bounds: Floats = np.array(bounds)

    def __len__(self) -> int:
        return len(self.width)

    @property
    def windows(self) -> int:
        """Give the number of windows."""
        return len(self.bounds) - 1

    def pairs(self, starts: Floats, ends: Floats) -> tuple[Ints, Ints]:
        """Give place of request and cell of each pair, for requests present over these spans."""
        low = np.clip(np.searchsorted(self.edges, starts, "right") - 1, 0, len(self))
        high = np.clip(np.searchsorted(self.edges, ends, "left"), 0, len(self))
        counts = np.maximum(high - low, 0)
        request = np.repeat(np.arange(len(starts)), counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        cell = np.arange(len(request)) - first + np.repeat(low, counts)
        return request, cell

    def sum_by_window(self, values: Floats) -> Floats:
        """Give the sums of a value a cell over each window."""
        return sums(self.window, values, self.windows)


class Track:
    """What the requests of one upstream and kind did in the cells."""

    def __init__(self, cells: Cells, placed: Sequence[Placed] | Sequence[PlacedImage]) -> None:
        self.placed = placed
        self.cells = cells
        starts = np.array([one.start for one in placed])
        ends = np.array([one.finish for one in placed])
        self.request, self.cell = cells.pairs(starts, ends)
        self._from = cells.edges[self.cell]
        self._to = cells.edges[self.cell + 1]
        self.present = self._overlap(starts, ends)
        """Seconds on the device."""
        self.columns: dict[str, Floats] = {}
        """Own work by feature."""
        self.part = np.zeros(len(self.cell))
        """Participation in the engine's steps."""
        self.work = np.zeros(len(self.cell))
        """Tokens, or megapixel-steps."""
        unsure = np.array([one.unsure for one in placed], dtype=bool)
        self.unsure = self.per_cell(np.where(unsure[self.request], self.present, 0.0))
        """Seconds of presence of requests whose work cannot be placed yet, by cell."""
        self.doubt = np.zeros(len(cells))
        """Prefilled tokens whose instant was guessed, by cell."""

    def per_cell(self, values: Floats) -> Floats:
        """Give the sums of a value a pair over each cell."""
        return sums(self.cell, values, len(self.cells))

    def steps(self) -> Floats:
        """Give the engine's steps in each cell: the mean rate of those present times the occupied time."""
        present, part = self.per_cell(self.present), self.per_cell(self.part)
        rate = ratio(part, present)
        return rate * np.minimum(self.cells.width, present)

    def part_share(self) -> Floats:
        """Give each pair's part of its cell's steps."""
        return self._share(self.part)

    def _share(self, values: Floats) -> Floats:
        return ratio(values, self.per_cell(values)[self.cell])

    def _overlap(self, starts: Floats, ends: Floats) -> Floats:
        low = np.maximum(self._from, starts[self.request])
        high = np.minimum(self._to, ends[self.request])
        overlap: Floats = np.maximum(high - low, 0.0)
        return overlap

    def _spread(self, starts: Floats, ends: Floats) -> Floats:
        """Give the part of each request's span from start to end that lies in each pair's cell."""
        ends = np.maximum(ends, starts + BRIEF)
        return ratio(self._overlap(starts, ends), (ends - starts)[self.request])


class TextTrack(Track):
    """Prefill and decoding."""

    def __init__(self, cells: Cells, placed: Sequence[Placed]) -> None:
        super().__init__(cells, placed)
        if not placed:
            self._fill(np.empty(0), np.empty(0), np.empty(0), placed)
            return
        before, middle, after = self._curves(placed)
        self._fill(after[0] - before[0], after[1] - before[1], middle, placed)

    def _fill(self, steps: Floats, tokens: Floats, context: Floats, placed: Sequence[Placed]) -> None:
        prompt = np.array([one.prompt for one in placed])
        whole = np.array([one.context for one in placed])
        starts = np.array([one.start for one in placed])
        ends = np.array([one.prefilled for one in placed])
        prefill = self._spread(starts, ends)
        pf = prefill * prompt[self.request]
        beside = np.maximum(whole - prompt, 0.0) + prompt / 2
        self.columns = {
            "tok": tokens,
            "kv": steps * (whole[self.request] + context),
            "pf": pf,
            "pfx": pf * beside[self.request],
        }
        self.part = steps + prefill * np.array([one.prefill_steps for one in placed])[self.request]
        self.work = pf + tokens
        doubtful = np.array([one.doubtful for one in placed], dtype=bool)
        self.doubt = self.per_cell(np.where(doubtful[self.request], pf, 0.0))

    def _curves(self, placed: Sequence[Placed]) -> tuple[Floats, Floats, Floats]:
        """Give (steps, tokens) done at the start and end of each pair's cell, and tokens at its middle.

        All curves are read by one interpolation: each request's times are moved into a range of their own.
        """
        base = min(float(one.times[0]) for one in placed)
        apart = max(float(one.times[-1]) for one in placed) - base + 1.0
        keys = np.concatenate([one.times - base + place * apart for place, one in enumerate(placed)])
        steps = np.concatenate([one.steps for one in placed])
        tokens = np.concatenate([one.tokens for one in placed])
        firsts = np.array([one.times[0] for one in placed])[self.request]
        lasts = np.array([one.times[-1] for one in placed])[self.request]
        shift = self.request * apart - base

        def read(t: Floats, values: Floats) -> Floats:
            return np.interp(np.clip(t, firsts, lasts) + shift, keys, values)

        before = np.stack([read(self._from, steps), read(self._from, tokens)])
        after = np.stack([read(self._to, steps), read(self._to, tokens)])
        return before, read((self._from + self._to) / 2, tokens), after


class ImageTrack(Track):
    """Denoising."""

    def __init__(self, cells: Cells, placed: Sequence[PlacedImage]) -> None:
        super().__init__(cells, placed)
        starts = np.array([one.start for one in placed])
        ends = np.array([one.end for one in placed])
        size = np.array([one.megapixels for one in placed])[self.request]
        steps = np.array([one.steps for one in placed])[self.request]
        images = np.array([one.images for one in placed])[self.request]
        share = self._spread(starts, ends)
        self.columns = {
            "mps": share * size * steps * images,
            "mps2": share * size * size * steps * images,
            "mpn": share * size * images,
        }
        self.part = share * (steps + IMAGE_OVERHEAD_STEPS) * images
        self.work = self.columns["mps"]
        self._images = images

    def steps(self) -> Floats:
        """Give the engine's steps in each cell; a batch of n images weighs n."""
        present = self.per_cell(self.present * self._images)
        part = self.per_cell(self.part)
        rate = ratio(part, present)
        return rate * np.minimum(self.cells.width, self.per_cell(self.present))
