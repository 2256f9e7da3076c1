"""The step clock of one engine: when its steps ended, read from the arrivals of streamed chunks.

All sequences of a continuously batching engine advance at one rate, a token a step. So the chunks of any
clean stream tick for all of them, also for those that are not streamed.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pace: TypeAlias = Callable[[Floats, float], Floats]
"""Gives the steps in each tick, from the edges of the ticks and the usual steps a tick."""

USUAL_STEP = 0.009
"""s: length of a step until one was seen."""
SHORTEST_STEP = 2e-4
"""s: no engine is faster; chunks that came in one read are not steps."""
TICK = 0.010
"""s: resolution of the clock."""
MOST_TICKS = 100_000
"""The clock looks back a quarter of an hour at most; before that its usual step holds."""
BURST = 0.0026
"""s: the chunks of one step reach the gate within this time."""
NEWS = 0.45
"""Part of a typical step that must have passed since the last step end."""
QUORUM = 0.3
"""Part of the running streams that must tick together."""
CLEAN = 1.15
"""Tokens a chunk below which a stream shows every step."""
CLEAN_SHARE = 0.15
"""Part of the streams that must be clean; with fewer the engine itself gives several tokens a step."""
SEVERAL = 1.25
"""Tokens a chunk above which an engine decodes speculatively."""

MOST_SEVERAL = 8.0
"""Tokens a chunk above which chunks were coalesced on their way: no draft is so often right."""
SLOWEST_STEP = 0.045
"""s between chunks of several tokens each above which they were held back on their way."""


class Stream(Struct, frozen=True):
    """The chunks of one streamed answer."""

    times: Floats
    """Arrivals less the usual delay, in s."""
    tokens: float | None
    """Tokens of the answer, if they are known."""
    before: int = 0
    """Chunks that came earlier and are not kept."""

    @property
    def chunks(self) -> int:
        """Give how many chunks came."""
        return self.before + len(self.times)

    @property
    def lumpiness(self) -> float | None:
        """Give the tokens a chunk; ``None`` if the tokens are not known."""
        return None if self.tokens is None else self.tokens / self.chunks


class StepClock:
    """Steps of one engine over a stretch of time.

    ``pace`` gives the steps in each tick for ticks in which nobody streams.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        start: float,
        end: float,
        usual: float | None,
        pace: Pace | None = None,
    ) -> None:
        self.per_step = tokens_per_step(streams)
        """Tokens a step and sequence."""
        self.speculative = self.per_step > 1.0
        self.clean = _clean(streams, speculative=self.speculative)
        gaps = _gaps(self.clean)
        self.step = max(float(np.median(gaps)), SHORTEST_STEP) if len(gaps) > 3 else usual or USUAL_STEP
        """Typical length of a step in s."""
        self.learned = len(gaps) > 3
        self.ends: list[float] = _step_ends(self.clean, self.step)
        self._ends = np.array(self.ends)
        self._edges = _ticks(start, end)
        silent = (
            np.full(len(self._edges) - 1, TICK / self.step)
            if pace is None
            else pace(self._edges, TICK / self.step)
        )
        self._steps = _running_sum(self.clean, self._edges, silent, speculative=self.speculative)

    def at(self, t: Floats) -> Floats:
        """Give the steps done until each instant, counted from an arbitrary origin."""
        first, last = self._edges[0], self._edges[-1]
        beyond = np.minimum(t - first, 0.0) + np.maximum(t - last, 0.0)
        found: Floats = np.interp(t, self._edges, self._steps) + beyond / self.step
        return found

    def when(self, steps: Floats) -> Floats:
        """Give the instants at which so many steps were done: the inverse of ``at``."""
        beyond = np.minimum(steps, 0.0) + np.maximum(steps - self._steps[-1], 0.0)
        found: Floats = np.interp(steps, self._steps, self._edges) + beyond * self.step
        return found

    def back(self, t: Floats, steps: Floats) -> Floats:
        """Give the step ends that lie so many steps before the ones at ``t``."""
        plain: Floats = t - steps * self.step
        if not self.ends:
            return plain
        place = np.searchsorted(self._ends, t + 0.4 * self.step, "right") - 1 - steps.astype(np.int64)
        found = self._ends[np.maximum(place, 0)]
        return np.where((place < 0) | (t - found > np.maximum(steps, 1.0)), plain, found)

    def ticked(self, t: Floats) -> Floats:
        """Give the steps done until each instant; it stands still outside of its stretch of time."""
        return np.interp(t, self._edges, self._steps)

    def first_end(self, t: float) -> int:
        """Give the place of the first step end at or after ``t``."""
        return bisect_left(self.ends, t)


def tokens_per_step(streams: Sequence[Stream]) -> float:
    """Give the tokens of a sequence in one step: more than 1 only if the engine decodes speculatively."""
    return _per_step(streams) if _speculative(streams) else 1.0


def _speculative(streams: Sequence[Stream]) -> bool:
    known = [stream for stream in streams if stream.tokens is not None and len(stream.times) >= 3]
    if len(known) < 2:
        return False
    clean = sum((stream.lumpiness or 0) < CLEAN for stream in known)
    gaps = [float(stream.times[-1] - stream.times[0]) / (len(stream.times) - 1) for stream in known]
    together = _per_step(known) > MOST_SEVERAL or float(np.median(gaps)) > SLOWEST_STEP
    return clean < CLEAN_SHARE * len(known) and _per_step(known) > SEVERAL and not together


def _per_step(streams: Sequence[Stream]) -> float:
    known = [stream for stream in streams if stream.tokens is not None]
    chunks = sum(stream.chunks for stream in known)
    return max(1.0, sum(stream.tokens or 0 for stream in known) / chunks) if chunks else 1.0


def _clean(streams: Sequence[Stream], *, speculative: bool) -> list[Stream]:
    """Give the streams whose chunks are steps."""
    if speculative:
        return list(streams)
    return [stream for stream in streams if (stream.lumpiness or 1.0) < CLEAN]


def _gaps(streams: Sequence[Stream]) -> Floats:
    """Give the times between chunks, without each stream's first: it holds the tail of a prefill."""
    times = [stream.times for stream in streams if len(stream.times) > 2]
    if not times:
        return np.empty(0)
    gaps = np.diff(np.concatenate(times))
    ends = np.cumsum([len(one) for one in times])
    inside = np.ones(len(gaps), dtype=bool)
    inside[ends[:-1] - 1] = inside[ends[:-1]] = inside[0] = False
    found: Floats = gaps[inside]
    return found


def _step_ends(streams: Sequence[Stream], step: float) -> list[float]:
    if not streams:
        return []
    chunks = np.sort(np.concatenate([stream.times for stream in streams]))
    firsts = np.sort([stream.times[0] for stream in streams])
    lasts = np.sort([stream.times[-1] for stream in streams])
    running = np.searchsorted(firsts, chunks, "right") - np.searchsorted(lasts, chunks, "left")
    burst = min(BURST, 0.4 * step)
    together = np.searchsorted(chunks, chunks + burst, "right") - np.arange(len(chunks))
    return _spaced(chunks[together >= QUORUM * running].tolist(), NEWS * step)


def _spaced(times: list[float], apart: float) -> list[float]:
    kept: list[float] = []
    place = 0
    while place < len(times):
        kept.append(times[place])
        place = bisect_right(times, times[place] + apart, lo=place + 1)
    return kept


def _ticks(start: float, end: float) -> Floats:
    count = min(max(2, int((end - start) / TICK) + 2), MOST_TICKS)
    start = max(start, end - TICK * MOST_TICKS)
    return np.asarray(start + TICK * np.arange(count), dtype=np.float64)


def _running_sum(streams: Sequence[Stream], edges: Floats, silent: Floats, *, speculative: bool) -> Floats:
    """Give the steps done until each edge: the mean over the running streams, not the maximum.

    The maximum would count jitter: 31 % error in place of 6.5 % on mixed prompts.
    """
    streams = [stream for stream in streams if len(stream.times) >= 3]
    if not streams:
        return np.concatenate([[0.0], np.cumsum(silent)])
    low = np.searchsorted(edges, [stream.times[0] for stream in streams])
    high = np.searchsorted(edges, [stream.times[-1] for stream in streams]) - 1
    counts = np.maximum(high - low, -1) + 1
    counts = np.where(counts > 1, counts, 0)
    place = np.repeat(np.arange(len(streams)), counts)
    tick = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(low, counts)
    factors = [1.0 if speculative else pace(stream) for stream in streams]
    steps = _read_all(streams, factors, place, edges[tick])
    inside = np.flatnonzero(place[1:] == place[:-1])
    total = np.bincount(tick[inside], np.diff(steps)[inside], len(edges) - 1)
    running = np.bincount(tick[inside], minlength=len(edges) - 1)
    rate = np.where(running > 0, total / np.maximum(running, 1), silent)
    return np.concatenate([[0.0], np.cumsum(rate)])


def _read_all(streams: Sequence[Stream], factors: Sequence[float], place: Ints, times: Floats) -> Floats:
    """Give the steps that streams had done at instants within them.

    All are read by one interpolation: each stream's times are moved into a range of their own.
    """
    counts = [len(stream.times) for stream in streams]
    keys, shift = apart([stream.times for stream in streams])
    nth = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    done: Floats = np.interp(times + shift[place], keys, nth * np.repeat(factors, counts))
    return done


def apart(times: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Give the instants of many, each moved into a range of its own, and by how much each was moved."""
    together = np.concatenate(times)
    base = float(together.min())
    shift: Floats = np.arange(len(times), dtype=np.float64) * (float(together.max()) - base + 1.0) - base
    return together + np.repeat(shift, [len(one) for one in times]), shift


def pace(stream: Stream) -> float:
    """Give the steps a chunk: above 1 if some chunks hold several steps' tokens."""
    if stream.tokens is None or stream.chunks < 2:
        return 1.0
    return max(stream.tokens - 1, 1) / (stream.chunks - 1)
