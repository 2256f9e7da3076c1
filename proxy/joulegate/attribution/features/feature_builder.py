"""From requests and windows to features: which work was done when, by all that is known now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import numpy as np

from joulegate.attribution.features.cells import CELL_S, Cells, ImageTrack, TextTrack, Track
from joulegate.attribution.features.counter_lag import CounterLag
from joulegate.attribution.features.counts import Answers, encodes
from joulegate.attribution.features.images import ImagePlacer, PlacedImage
from joulegate.attribution.features.placement import Placer
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_rate import clock_of
from joulegate.attribution.features.window_features import DeviceState, WindowFeatures, WindowReadings
from joulegate.attribution.input.foreign import ForeignLoad
from joulegate.attribution.input.request import RequestInput, WorkKind
from joulegate.attribution.input.rows import CHUNKED, WORKS, Table, marked, table
from joulegate.attribution.input.windows import Window
from joulegate.attribution.maths.arrays import Floats, Seconds
from joulegate.model import UpstreamSetup
from joulegate.units import MICRO, NANO, Nanoseconds

CLOCK_RUNS_ON_S = 60.0
"""Seconds after the last window over which the step clock runs on."""
FINE_CELL_S = 0.002
"""Width of cells where most requests take a few ms."""
CONTEXT_S = 0.5
"""Seconds before a stretch of time that its step clock looks back."""


UNKNOWN_SETUP = UpstreamSetup()


class FeatureBuilder:
    """Builds the features of one group's windows and learns each upstream's priors from ended requests."""

    def __init__(
        self,
        origin: Nanoseconds,
        upstreams: Mapping[str, UpstreamSetup],
        *,
        queue_pays: bool,
        foreign: ForeignLoad | None = None,
    ) -> None:
        self.origin = origin
        self.upstreams = upstreams
        self.impossible_usage = 0
        """Requests whose reported usage cannot be true."""
        self._queue_pays = queue_pays
        self._foreign = foreign or ForeignLoad()
        self.priors: dict[str, Priors] = {}
        self._ended: list[RequestInput] = []
        """Requests that nothing was learned of yet."""

    def ended(self, request: RequestInput) -> None:
        """Record that a request has ended; reported usage that cannot be true is counted and not used."""
        self.impossible_usage += request.impossible_usage
        if request.works():
            self._ended.append(request)

    def _learn_ended(self) -> None:
        """Learn from all that have ended since the last features, at once."""
        by_track: defaultdict[str, list[RequestInput]] = defaultdict(list)
        for request in self._ended:
            by_track[self.track_name(request)].append(request)
        for name, requests in by_track.items():
            self._priors(name).learn(requests)
        self._ended.clear()

    def track_name(self, request: RequestInput) -> str:
        """Return the track of a request: its upstream and the kind of its work."""
        return f"{request.opened.upstream}/{self.kind(request)}"

    def drawn(self, requests: Iterable[RequestInput]) -> list[RequestInput]:
        """Return the image requests among these."""
        painters = {name for name, setup in self.upstreams.items() if setup.kind == WorkKind.IMAGE}
        some = [
            request
            for request in requests
            if request.drawn or (painters and request.opened.upstream in painters)
        ]
        return [request for request in some if self.kind(request) is WorkKind.IMAGE]

    def kind(self, request: RequestInput) -> WorkKind:
        """Return the kind of work of a request."""
        return request.kind(self.upstreams.get(request.opened.upstream, UNKNOWN_SETUP).kind)

    def build(
        self,
        windows: Sequence[Window],
        requests: Iterable[RequestInput],
        now: Nanoseconds,
        devices: DeviceState,
        lag: CounterLag,
    ) -> WindowFeatures:
        """Return what is known now of consecutive windows."""
        self._learn_ended()
        bounds = [(window.start - self.origin) / NANO - lag.used for window in windows]
        bounds.append((windows[-1].end - self.origin) / NANO - lag.used)
        near, rows = _near(list(requests), bounds[0], bounds[-1])
        brief = int(encodes(rows).sum())
        cells = Cells(bounds, FINE_CELL_S if brief > len(near) / 2 else CELL_S)
        clock = (now - self.origin) / NANO
        members = self._members(near, marked(rows, WORKS).tolist())
        tracks = {name: self._track(name, some, cells, clock) for name, some in members.items()}
        energy = np.array([window.total / MICRO for window in windows])
        starts = [Nanoseconds(window.start) for window in windows]
        readings = WindowReadings(starts, energy, self._edges(windows, lag.used))
        load = self._foreign.over(list(windows[0].energy), cells.bounds, self.origin)
        return WindowFeatures(cells, tracks, readings, devices, lag, load)

    def _edges(self, windows: Sequence[Window], lag: Seconds) -> Floats:
        """Return the counter edges of windows: times in s, lag taken off, and energy in J since the first."""
        times, totals, before = [windows[0].start], [0], 0
        for window in windows:
            for t, energy in window.inner:
                times.append(t)
                totals.append(before + energy)
            before += window.total
            times.append(window.end)
            totals.append(before)
        shown = (np.array(times) - self.origin) / NANO - lag
        return np.stack([shown, np.array(totals) / MICRO])

    def _members(
        self, requests: Sequence[RequestInput], works: Sequence[bool]
    ) -> dict[str, list[RequestInput]]:
        members: defaultdict[tuple[str, bool], list[RequestInput]] = defaultdict(list)
        for request, worked in zip(requests, works, strict=True):
            if worked:
                members[request.opened.upstream, request.drawn].append(request)
        tracks: defaultdict[str, list[RequestInput]] = defaultdict(list)
        for some in members.values():
            tracks[self.track_name(some[0])] += some
        for name in tracks:
            tracks[name].sort(key=attrgetter("place"))
        return dict(sorted(tracks.items()))

    def _track(self, name: str, requests: Sequence[RequestInput], cells: Cells, now: Seconds) -> Track:
        if self._queue_pays:
            return ImageTrack(cells, [_whole(request, now) for request in requests])
        if name.endswith(f"/{WorkKind.IMAGE}"):
            return ImageTrack(cells, self._images(name, requests, now))
        return self._texts(name, requests, cells, now)

    def _images(self, name: str, requests: Sequence[RequestInput], now: Seconds) -> list[PlacedImage]:
        setup = self.upstreams.get(name.rpartition("/")[0], UpstreamSetup())
        return ImagePlacer(setup.concurrency, self._priors(name), now).place(requests)

    def _texts(self, name: str, requests: Sequence[RequestInput], cells: Cells, now: Seconds) -> TextTrack:
        priors = self._priors(name)
        answers = Answers(requests, priors)
        start = float(answers.rows["start"].min())
        end = min(max(float(cells.edges[-1]), now), float(cells.edges[-1]) + CLOCK_RUNS_ON_S)
        clock = clock_of(answers, priors, start, end)
        return TextTrack(cells, Placer(clock, priors, now).place(answers))

    def _priors(self, name: str) -> Priors:
        return self.priors.setdefault(name, Priors())


def _near(
    requests: Sequence[RequestInput], start: Seconds, end: Seconds
) -> tuple[Sequence[RequestInput], Table]:
    """Return the requests that matter for a stretch of time, and their rows.

    Those that were there, a little before it too, for the step clock; and for images in a queue those that
    were drawn while they waited.
    """
    rows = table(requests)
    there = (rows["start"] <= end) & (rows["end"] >= start - CONTEXT_S)
    whole = ~marked(rows, CHUNKED)
    if not there.all() and (there & whole).any():
        queued = rows["start"][there & whole].min()
        there |= (rows["start"] <= end) & whole & (np.minimum(rows["end"], end) >= queued)
    places = np.flatnonzero(there)
    return [requests[place] for place in places.tolist()], rows[places]


def _whole(request: RequestInput, now: Seconds) -> PlacedImage:
    """Return a request as one piece of work from arrival to end, for a rule that does not look inside."""
    return PlacedImage(
        request, request.start, max(now if request.end is None else request.end, request.start), 1.0, 1.0, 1.0
    )
