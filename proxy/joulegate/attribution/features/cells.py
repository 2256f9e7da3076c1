"""Small cells of time, and what each request did in each of them.

Cells nest in settlement windows, so no cell belongs to two. A *pair* is a request and a cell in which it
was present; pairs are kept as parallel arrays, ordered by request and then by cell.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulegate.attribution.features.images import PlacedImage
from joulegate.attribution.features.placed_work import Curves, PlacedWork
from joulegate.attribution.features.step_clock import apart
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.maths.arrays import Floats, Ints, Seconds

CELL_S = 0.010
"""Width of a cell; finer ones buy nothing while a step takes about as long."""
MAX_CELLS = 20_000
"""Cells of one window: a window of hours, after a lost device, gets wider ones."""
SHORTEST_SPREAD_S = 1e-4
"""The shortest time over which work is spread."""
IMAGE_OVERHEAD_STEPS = 2
"""Text encoder and decoder of an image, in denoising steps."""


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, and 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def sums(places: Ints, values: Floats, count: int) -> Floats:
    """Return the sum of the values at each place."""
    return np.bincount(places, weights=values, minlength=count).astype(np.float64)


class Cells:
    """The cells of consecutive windows."""

    def __init__(self, bounds: Sequence[Seconds], width: Seconds = CELL_S) -> None:
        edges = [np.array(bounds[:1])]
        windows = []
        for place, (start, end) in enumerate(itertools.pairwise(bounds)):
            count = min(max(1, round((end - start) / width)), MAX_CELLS)
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
        """Return the number of windows."""
        return len(self.bounds) - 1

    def pairs(self, starts: Floats, ends: Floats) -> tuple[Ints, Ints]:
        """Return the places of request and cell of each pair, by when each request was present."""
        low = np.clip(np.searchsorted(self.edges, starts, "right") - 1, 0, len(self))
        high = np.clip(np.searchsorted(self.edges, ends, "left"), 0, len(self))
        counts = np.maximum(high - low, 0)
        request = np.repeat(np.arange(len(starts)), counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        cell = np.arange(len(request)) - first + np.repeat(low, counts)
        return request, cell

    def sum_by_window(self, values: Floats) -> Floats:
        """Return the sums of a value a cell over each window."""
        return sums(self.window, values, self.windows)


class Track:
    """What the requests of one upstream and kind did in the cells."""

    def __init__(
        self,
        cells: Cells,
        requests: Sequence[RequestInput],
        starts: Floats,
        ends: Floats,
        unsure: npt.NDArray[np.bool_],
    ) -> None:
        self.requests = requests
        self.cells = cells
        self.service = ends - starts
        """Seconds on the device of each request."""
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
        self.guessed = np.zeros(len(requests), dtype=bool)
        """The prompts of these requests were estimated."""
        self.hidden_cache = False
        """Their engine often caches prompts without saying so."""
        self.unsure = self.per_cell(np.where(unsure[self.request], self.present, 0.0))
        """Seconds of presence of requests whose work cannot be placed yet, by cell."""
        self.doubt = np.zeros(len(cells))
        """Prefilled tokens whose instant was guessed, by cell."""

    def per_cell(self, values: Floats) -> Floats:
        """Return the sums of a value a pair over each cell."""
        return sums(self.cell, values, len(self.cells))

    def steps(self) -> Floats:
        """Return the engine's steps in each cell: the mean rate of those present times the occupied time."""
        present, part = self.per_cell(self.present), self.per_cell(self.part)
        rate = ratio(part, present)
        return rate * np.minimum(self.cells.width, present)

    def part_share(self) -> Floats:
        """Return each pair's part of its cell's steps."""
        return self._share(self.part)

    def _share(self, values: Floats) -> Floats:
        return ratio(values, self.per_cell(values)[self.cell])

    def _overlap(self, starts: Floats, ends: Floats) -> Floats:
        low = np.maximum(self._from, starts[self.request])
        high = np.minimum(self._to, ends[self.request])
        overlap: Floats = np.maximum(high - low, 0.0)
        return overlap

    def _spread(self, starts: Floats, ends: Floats) -> Floats:
        """Return the part of each stretch from start to end that lies in each pair's cell."""
        ends = np.maximum(ends, starts + SHORTEST_SPREAD_S)
        return ratio(self._overlap(starts, ends), (ends - starts)[self.request])


class TextTrack(Track):
    """Prefill and decoding."""

    def __init__(self, cells: Cells, placed: PlacedWork) -> None:
        super().__init__(cells, placed.requests, placed.start, placed.finish, placed.unsure)
        self.guessed, self.hidden_cache = placed.guessed, placed.hidden_cache
        steps, tokens, context = self._decoded(placed)
        prefill = self._spread(placed.start, placed.prefilled)
        pf = prefill * placed.prompt[self.request]
        beside = np.maximum(placed.context - placed.prompt, 0.0) + placed.prompt / 2
        self.columns = {
            "tok": tokens,
            "kv": steps * (placed.context[self.request] + context),
            "pf": pf,
            "pfx": pf * beside[self.request],
        }
        self.part = steps + prefill * placed.prefill_steps[self.request]
        self.work = pf + tokens
        self.doubt = self.per_cell(np.where(placed.doubtful[self.request], pf, 0.0))

    def _decoded(self, placed: PlacedWork) -> tuple[Floats, Floats, Floats]:
        """Return the steps and tokens done in each pair's cell, and the tokens there are at its middle."""
        streams = int(np.searchsorted(self.request, len(placed.curves)))
        parts = [self._by_curves(placed.curves, streams), self._by_clock(placed, streams)]
        steps, tokens, middle = (np.concatenate(values) for values in zip(*parts, strict=True))
        return steps, tokens, middle

    def _by_curves(self, curves: Curves, pairs: int) -> tuple[Floats, Floats, Floats]:
        """Read streams, the first so many pairs, from their own curves.

        All are read by one interpolation: each request's times are moved into a range of their own.
        """
        if not pairs:
            return np.empty(0), np.empty(0), np.empty(0)
        request = self.request[:pairs]
        keys, moved = apart(curves.times, curves.counts)
        ends = np.cumsum(curves.counts)
        firsts, lasts = curves.times[ends - curves.counts][request], curves.times[ends - 1][request]
        shift = moved[request]

        def read(t: Floats, values: Floats) -> Floats:
            return np.interp(np.clip(t, firsts, lasts) + shift, keys, values)

        start, end = self._from[:pairs], self._to[:pairs]
        done = read(end, curves.steps) - read(start, curves.steps)
        tokens = read(end, curves.tokens) - read(start, curves.tokens)
        return done, tokens, read((start + end) / 2, curves.tokens)

    def _by_clock(self, placed: PlacedWork, pairs: int) -> tuple[Floats, Floats, Floats]:
        """Read the other pairs from the engine's clock, evenly between first and last step."""
        request, clock, edges = self.request[pairs:], placed.clock, self.cells.edges
        first, last = clock.ticked(placed.prefilled), clock.ticked(np.maximum(placed.end, placed.prefilled))
        still = last <= first
        base, whole = first[request], np.where(still, 1.0, last - first)[request]
        ticks, cell = clock.ticked(edges), self.cell[pairs:]
        halves = clock.ticked((edges[:-1] + edges[1:]) / 2)

        def part(values: Floats) -> Floats:
            return np.minimum(np.maximum(values - base, 0.0) / whole, 1.0)

        before, middle, after = part(ticks[cell]), part(halves[cell]), part(ticks[cell + 1])
        if still.any():
            before, middle, after = (
                np.where(still[request], even, found)
                for even, found in zip(self._evenly(placed, pairs), (before, middle, after), strict=True)
            )
        out, rest = placed.out[request], np.maximum(placed.out - 1.0, 0.0)[request]
        done = after - before
        return done * placed.steps[request], done * rest, np.minimum(out, 1.0) + middle * rest

    def _evenly(self, placed: PlacedWork, pairs: int) -> tuple[Floats, Floats, Floats]:
        """Return the part of the time between first and last step: for where the clock stands still."""
        request = self.request[pairs:]
        first = placed.prefilled[request]
        length = np.maximum(placed.end - placed.prefilled, SHORTEST_SPREAD_S * SHORTEST_SPREAD_S)[request]
        start, end = self._from[pairs:], self._to[pairs:]
        times = (start, (start + end) / 2, end)
        before, middle, after = (np.clip((t - first) / length, 0.0, 1.0) for t in times)
        return before, middle, after


class ImageTrack(Track):
    """Denoising."""

    def __init__(self, cells: Cells, placed: Sequence[PlacedImage]) -> None:
        starts = np.array([one.start for one in placed])
        ends = np.array([one.end for one in placed])
        unsure = np.array([one.unsure for one in placed], dtype=bool)
        super().__init__(cells, [one.request for one in placed], starts, ends, unsure)
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
        """Return the engine's steps in each cell; a batch of n images weighs n."""
        present = self.per_cell(self.present * self._images)
        part = self.per_cell(self.part)
        rate = ratio(part, present)
        return rate * np.minimum(self.cells.width, self.per_cell(self.present))
