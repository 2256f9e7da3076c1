"""From spans and windows to a scene: who did what when, by all that is known now."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from joulegate.attribution.books import Window
from joulegate.attribution.cells import Cells, ImageTrack, TextTrack, Track
from joulegate.attribution.habits import Habits
from joulegate.attribution.placement import ImagePlacer, Placed, PlacedImage, Placer, count, stream_of
from joulegate.attribution.scene import Scene
from joulegate.attribution.spans import Kind, Span
from joulegate.attribution.stepclock import StepClock
from joulegate.model import UpstreamSetup
from joulegate.units import MICRO, NANO

Work = TypeVar("Work", Placed, PlacedImage)

BEYOND = 60.0
"""s after the last window over which the step clock runs on."""
USUAL_LAG = 0.030
"""s by which a counter shows the past."""


class Observer:
    """Builds the scenes of one group and learns each upstream's habits on the way."""

    def __init__(
        self, origin: int, upstreams: Mapping[str, UpstreamSetup], devices: int, *, queue_pays: bool
    ) -> None:
        self.origin = origin
        self.upstreams = upstreams
        self.lag = USUAL_LAG
        self._devices = devices
        self._queue_pays = queue_pays
        self.habits: dict[str, Habits] = {}

    def ended(self, span: Span) -> None:
        """Learn from a request that has ended."""
        self._habits(self.track_name(span)).learn(span)

    def track_name(self, span: Span) -> str:
        """Give the track of a request: its upstream and the kind of its work."""
        setup = self.upstreams.get(span.opened.upstream, UpstreamSetup())
        return f"{span.opened.upstream}/{span.kind(setup.kind)}"

    def scene(self, windows: Sequence[Window], spans: Iterable[Span], now: int, idle_power: float) -> Scene:
        """Give what is known now of consecutive windows."""
        bounds = [(window.start - self.origin) / NANO - self.lag for window in windows]
        bounds.append((windows[-1].end - self.origin) / NANO - self.lag)
        cells = Cells(bounds)
        clock = (now - self.origin) / NANO
        tracks = {
            name: self._track(name, members, cells, clock) for name, members in self._members(spans).items()
        }
        energy = np.array([window.total / MICRO for window in windows])
        starts = [window.start for window in windows]
        return Scene(cells, energy, tracks, idle_power=idle_power, devices=self._devices, starts=starts)

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
        streams = []
        for span in spans:
            if span.times:
                counts = count(span, habits)
                streams.append(stream_of(span, counts.out, known=not counts.guessed_out))
        start = min([span.start for span in spans])
        end = min(max(float(cells.edges[-1]), now), float(cells.edges[-1]) + BEYOND)
        clock = StepClock(streams, start, end, habits.step)
        if clock.learned:
            habits.step = clock.step
        return Placer(clock, habits, now).place(spans)

    def _habits(self, name: str) -> Habits:
        return self.habits.setdefault(name, Habits())


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
    return placed
