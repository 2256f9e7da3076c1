"""From spans and windows to a scene: who did what when, by all that is known now."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from joulegate.attribution.books import Window
from joulegate.attribution.cells import CELL, Cells, ImageTrack, TextTrack, Track
from joulegate.attribution.counts import count, encodes, stream_of
from joulegate.attribution.habits import Habits
from joulegate.attribution.images import ImagePlacer, PlacedImage
from joulegate.attribution.placed import Placed
from joulegate.attribution.placement import Placer
from joulegate.attribution.scene import Scene
from joulegate.attribution.spans import Kind, Span
from joulegate.attribution.stepclock import Floats
from joulegate.attribution.strangers import Strangers
from joulegate.attribution.tempo import clock_of
from joulegate.model import UpstreamSetup
from joulegate.units import MICRO, NANO

Work = TypeVar("Work", Placed, PlacedImage)

BEYOND = 60.0
"""s after the last window over which the step clock runs on."""
USUAL_LAG = 0.030
"""s by which a counter shows the past."""
LAGS = tuple(0.02 * step for step in range(9))
"""s: candidates for the lag of a counter."""
SLOW_LAGS = tuple(0.3 + 0.05 * step for step in range(13))
"""s: candidates for power readings, which are means of the last second."""
SLOW_USUAL = 0.55
"""s: half of the second that such readings are the mean of, and a little."""
FINE = 0.002
"""s: width of cells where most requests take a few ms."""
CONTEXT = 0.5
"""s before a stretch of time that its step clock looks back."""
ENGINE_DELAY = 0.05
"""s after the end of a request within which its last work is done."""


class Observer:
    """Builds the scenes of one group and learns each upstream's habits on the way."""

    def __init__(
        self,
        origin: int,
        upstreams: Mapping[str, UpstreamSetup],
        devices: int,
        *,
        queue_pays: bool,
        strangers: Strangers | None = None,
    ) -> None:
        self.origin = origin
        self.upstreams = upstreams
        self.lag = USUAL_LAG
        """s by which the counters show the past; the rule may find a better one."""
        self.slow = False
        """The readings are means over a second."""
        self.lies = 0
        """Requests whose reported usage cannot be true."""
        self._devices = devices
        self._queue_pays = queue_pays
        self._strangers = strangers or Strangers()
        self.habits: dict[str, Habits] = {}

    @property
    def lags(self) -> tuple[float, ...]:
        """Give the lags that can be."""
        return SLOW_LAGS if self.slow else LAGS

    @property
    def reach(self) -> float:
        """Give the time in s after the end of a request at which its energy is surely on the counter."""
        return self.lags[-1] + ENGINE_DELAY

    def ended(self, span: Span) -> None:
        """Learn from a request that has ended; usage that cannot be true is counted and not believed."""
        self.lies += span.lies
        if span.works():
            self._habits(self.track_name(span)).learn(span)

    def track_name(self, span: Span) -> str:
        """Give the track of a request: its upstream and the kind of its work."""
        setup = self.upstreams.get(span.opened.upstream, UpstreamSetup())
        return f"{span.opened.upstream}/{span.kind(setup.kind)}"

    def scene(
        self,
        windows: Sequence[Window],
        spans: Iterable[Span],
        now: int,
        idle_power: float,
        *,
        idle_known: bool = True,
    ) -> Scene:
        """Give what is known now of consecutive windows."""
        if self.slow and self.lag < SLOW_LAGS[0]:
            self.lag = SLOW_USUAL
        bounds = [(window.start - self.origin) / NANO - self.lag for window in windows]
        bounds.append((windows[-1].end - self.origin) / NANO - self.lag)
        spans = _near(list(spans), bounds[0], bounds[-1])
        brief = sum(encodes(span) for span in spans)
        cells = Cells(bounds, FINE if brief > len(spans) / 2 else CELL)
        clock = (now - self.origin) / NANO
        tracks = {
            name: self._track(name, members, cells, clock) for name, members in self._members(spans).items()
        }
        energy = np.array([window.total / MICRO for window in windows])
        return Scene(
            cells,
            energy,
            tracks,
            idle_power=idle_power,
            idle_known=idle_known,
            devices=self._devices,
            starts=[window.start for window in windows],
            edges=self._edges(windows),
            lag=self.lag,
            lags=self.lags,
            slow=self.slow,
            load=self._strangers.over(list(windows[0].energy), cells.bounds, self.origin),
        )

    def _edges(self, windows: Sequence[Window]) -> Floats:
        """Give all counter edges of consecutive windows: s without lag, and energy in J since the first."""
        times, totals, before = [windows[0].start], [0], 0
        for window in windows:
            for t, energy in window.inner:
                times.append(t)
                totals.append(before + energy)
            before += window.total
            times.append(window.end)
            totals.append(before)
        shown = (np.array(times) - self.origin) / NANO - self.lag
        return np.stack([shown, np.array(totals) / MICRO])

    def _members(self, spans: Iterable[Span]) -> dict[str, list[Span]]:
        members: dict[str, list[Span]] = {}
        for span in spans:
            if span.works():
                members.setdefault(self.track_name(span), []).append(span)
        return dict(sorted(members.items()))

    def _track(self, name: str, spans: Sequence[Span], cells: Cells, now: float) -> Track:
        if self._queue_pays:
            return ImageTrack(cells, [_whole(span, now) for span in spans])
        if name.endswith(f"/{Kind.IMAGE}"):
            return ImageTrack(cells, _noted(self._images(name, spans, now)))
        return TextTrack(cells, _noted(self._texts(name, spans, cells, now)))

    def _images(self, name: str, spans: Sequence[Span], now: float) -> list[PlacedImage]:
        setup = self.upstreams.get(name.rpartition("/")[0], UpstreamSetup())
        return ImagePlacer(setup.concurrency, self._habits(name), now).place(spans)

    def _texts(self, name: str, spans: Sequence[Span], cells: Cells, now: float) -> list[Placed]:
        habits = self._habits(name)
        counted = {span.id: count(span, habits) for span in spans if span.times}
        known = {
            span.id: (counts, stream_of(span, counts.out, known=not counts.guessed_out))
            for span in spans
            if (counts := counted.get(span.id)) is not None
        }
        start = min([span.start for span in spans])
        end = min(max(float(cells.edges[-1]), now), float(cells.edges[-1]) + BEYOND)
        clock = clock_of(spans, known, habits, start, end)
        return Placer(clock, habits, now, streams=known).place(spans)

    def _habits(self, name: str) -> Habits:
        return self.habits.setdefault(name, Habits())


def _near(spans: Sequence[Span], start: float, end: float) -> list[Span]:
    """Give the requests that matter for a stretch of time.

    Those that were there, a little before it too, for the step clock; and for images in a queue those that
    were drawn while they waited.
    """
    there = [
        span for span in spans if span.start <= end and (span.end is None or span.end >= start - CONTEXT)
    ]
    if len(there) == len(spans):
        return there
    queued = min((span.start for span in there if not span.times), default=start)
    chosen = {id(span) for span in there}
    return [
        span
        for span in spans
        if id(span) in chosen or (span.start <= end and not span.times and (span.end or end) >= queued)
    ]


def _whole(span: Span, now: float) -> PlacedImage:
    """Give the span from arrival to end, for a rule that does not look inside."""
    return PlacedImage(
        span, span.start, max(now if span.end is None else span.end, span.start), 1.0, 1.0, 1.0
    )


def _noted(placed: list[Work]) -> list[Work]:
    """Keep with each request what its error bar needs."""
    for one in placed:
        one.span.service = one.finish - one.start
        one.span.guessed = one.guessed
        one.span.unsure_cache = one.hidden_cache
    return placed
