"""From spans and windows to a scene: who did what when, by all that is known now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import numpy as np

from joulegate.attribution.features.cells import CELL, Cells, ImageTrack, TextTrack, Track
from joulegate.attribution.features.counts import Answers, encodes
from joulegate.attribution.features.images import ImagePlacer, PlacedImage
from joulegate.attribution.features.placement import Placer
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_rate import clock_of
from joulegate.attribution.features.window_features import Scene
from joulegate.attribution.input.foreign import ForeignLoad
from joulegate.attribution.input.request import AttributedSpan, Kind
from joulegate.attribution.input.rows import CHUNKED, WORKS, Table, marked, table
from joulegate.attribution.input.windows import Window
from joulegate.attribution.maths.arrays import Floats
from joulegate.model import UpstreamSetup
from joulegate.units import MICRO, NANO

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


UNKNOWN_SETUP = UpstreamSetup()


class FeatureBuilder:
    """Builds the scenes of one group and learns each upstream's habits on the way."""

    def __init__(
        self,
        origin: int,
        upstreams: Mapping[str, UpstreamSetup],
        devices: int,
        *,
        queue_pays: bool,
        strangers: ForeignLoad | None = None,
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
        self._strangers = strangers or ForeignLoad()
        self.habits: dict[str, Priors] = {}
        self._ended: list[AttributedSpan] = []
        """Requests that nothing was learned of yet."""

    @property
    def lags(self) -> tuple[float, ...]:
        """Return the lags that can be."""
        return SLOW_LAGS if self.slow else LAGS

    @property
    def reach(self) -> float:
        """Return the time in s after the end of a request at which its energy is surely on the counter."""
        return self.lags[-1] + ENGINE_DELAY

    def ended(self, span: AttributedSpan) -> None:
        """Accept note of a request that has ended; usage that cannot be true is counted and not believed."""
        self.lies += span.lies
        if span.works():
            self._ended.append(span)

    def _learn_ended(self) -> None:
        """Learn from all that have ended since the last scene, at once."""
        by_track: defaultdict[str, list[AttributedSpan]] = defaultdict(list)
        for span in self._ended:
            by_track[self.track_name(span)].append(span)
        for name, spans in by_track.items():
            self._habits(name).learn(spans)
        self._ended.clear()

    def track_name(self, span: AttributedSpan) -> str:
        """Return the track of a request: its upstream and the kind of its work."""
        return f"{span.opened.upstream}/{self.kind(span)}"

    def drawn(self, spans: Iterable[AttributedSpan]) -> list[AttributedSpan]:
        """Return those of these requests that are for images."""
        painters = {name for name, setup in self.upstreams.items() if setup.kind == Kind.IMAGE}
        some = [span for span in spans if span.drawn or (painters and span.opened.upstream in painters)]
        return [span for span in some if self.kind(span) is Kind.IMAGE]

    def kind(self, span: AttributedSpan) -> Kind:
        """Return the kind of work of a request."""
        return span.kind(self.upstreams.get(span.opened.upstream, UNKNOWN_SETUP).kind)

    def scene(
        self,
        windows: Sequence[Window],
        spans: Iterable[AttributedSpan],
        now: int,
        idle_power: float,
        *,
        idle_known: bool = True,
    ) -> Scene:
        """Return what is known now of consecutive windows."""
        if self.slow and self.lag < SLOW_LAGS[0]:
            self.lag = SLOW_USUAL
        self._learn_ended()
        bounds = [(window.start - self.origin) / NANO - self.lag for window in windows]
        bounds.append((windows[-1].end - self.origin) / NANO - self.lag)
        near, rows = _near(list(spans), bounds[0], bounds[-1])
        brief = int(encodes(rows).sum())
        cells = Cells(bounds, FINE if brief > len(near) / 2 else CELL)
        clock = (now - self.origin) / NANO
        members = self._members(near, marked(rows, WORKS).tolist())
        tracks = {name: self._track(name, some, cells, clock) for name, some in members.items()}
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
        """Return all counter edges of consecutive windows: s without lag, and energy in J since the first."""
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

    def _members(
        self, spans: Sequence[AttributedSpan], works: Sequence[bool]
    ) -> dict[str, list[AttributedSpan]]:
        members: defaultdict[tuple[str, bool], list[AttributedSpan]] = defaultdict(list)
        for span, worked in zip(spans, works, strict=True):
            if worked:
                members[span.opened.upstream, span.drawn].append(span)
        tracks: defaultdict[str, list[AttributedSpan]] = defaultdict(list)
        for some in members.values():
            tracks[self.track_name(some[0])] += some
        for name in tracks:
            tracks[name].sort(key=attrgetter("place"))
        return dict(sorted(tracks.items()))

    def _track(self, name: str, spans: Sequence[AttributedSpan], cells: Cells, now: float) -> Track:
        if self._queue_pays:
            return ImageTrack(cells, [_whole(span, now) for span in spans])
        if name.endswith(f"/{Kind.IMAGE}"):
            return ImageTrack(cells, self._images(name, spans, now))
        return self._texts(name, spans, cells, now)

    def _images(self, name: str, spans: Sequence[AttributedSpan], now: float) -> list[PlacedImage]:
        setup = self.upstreams.get(name.rpartition("/")[0], UpstreamSetup())
        return ImagePlacer(setup.concurrency, self._habits(name), now).place(spans)

    def _texts(self, name: str, spans: Sequence[AttributedSpan], cells: Cells, now: float) -> TextTrack:
        habits = self._habits(name)
        answers = Answers(spans, habits)
        start = float(answers.rows["start"].min())
        end = min(max(float(cells.edges[-1]), now), float(cells.edges[-1]) + BEYOND)
        clock = clock_of(answers, habits, start, end)
        return TextTrack(cells, Placer(clock, habits, now).place(answers))

    def _habits(self, name: str) -> Priors:
        return self.habits.setdefault(name, Priors())


def _near(
    spans: Sequence[AttributedSpan], start: float, end: float
) -> tuple[Sequence[AttributedSpan], Table]:
    """Return the requests that matter for a stretch of time, and their rows.

    Those that were there, a little before it too, for the step clock; and for images in a queue those that
    were drawn while they waited.
    """
    rows = table(spans)
    there = (rows["start"] <= end) & (rows["end"] >= start - CONTEXT)
    whole = ~marked(rows, CHUNKED)
    if not there.all() and (there & whole).any():
        queued = rows["start"][there & whole].min()
        there |= (rows["start"] <= end) & whole & (np.minimum(rows["end"], end) >= queued)
    places = np.flatnonzero(there)
    return [spans[place] for place in places.tolist()], rows[places]


def _whole(span: AttributedSpan, now: float) -> PlacedImage:
    """Return the span from arrival to end, for a rule that does not look inside."""
    return PlacedImage(
        span, span.start, max(now if span.end is None else span.end, span.start), 1.0, 1.0, 1.0
    )
