"""Settlement of one group of devices: those that share upstreams.

Windows are shared by the rule in force, and booked when all that can be known about them is known or their
time is up. What is booked stays.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from joulegate.attribution.books import Window, book, preview, verdicts
from joulegate.attribution.crowd import Crowd
from joulegate.attribution.cutting import Cutter
from joulegate.attribution.figures import final_figures, provisional_figures
from joulegate.attribution.idle import IdlePower
from joulegate.attribution.observe import Observer
from joulegate.attribution.rules import Rule
from joulegate.attribution.scene import Scene
from joulegate.attribution.spans import BLOCKS, Span
from joulegate.attribution.stepclock import Floats
from joulegate.attribution.timeline import Timeline
from joulegate.model import Settled, WindowBooks
from joulegate.units import NANO

PATIENCE = 120 * NANO
"""ns: how long a window waits for requests that do not end, and a request for a counter that is gone."""
SWIFT = NANO
"""ns after the end of a request until its figure, for rules that learn nothing."""
REFIT = 10 * NANO
"""ns between two fits; less if figures are to be final sooner."""
BUSY = 1000
"""Requests above which provisional figures are given out every three seconds, not every second."""
CROWDED = 2000
"""Requests above which a fit looks again only at windows that are new or due: it has seen the others."""
SEASONED = 12
"""Fits after which the last half minute teaches a crowd's fit nothing: windows that are due are enough."""


class Group:
    """Devices that are settled together."""

    def __init__(
        self, timelines: Sequence[Timeline], observer: Observer, rule: Rule, idle: IdlePower, settle: int
    ) -> None:
        self.timelines = timelines
        self.observer = observer
        self.rule = rule
        self.idle = idle
        self.spans: dict[str, Span] = {}
        self._windows: list[Window] = []
        self._settle = settle
        self._cutter = Cutter(timelines)
        self._seen_until = 0
        self._fits = 0
        self._next_look: int | None = None
        self._next_preview = 0
        self._settled: list[Settled] = []
        self._books: list[WindowBooks] = []

    def take(self) -> tuple[list[Settled], list[WindowBooks]]:
        """Give what was settled since the last call."""
        settled, books = self._settled, self._books
        self._settled, self._books = [], []
        return settled, books

    def advance(self, now: int) -> None:
        """Close the windows that the counters have passed and settle what is due."""
        self._windows += self._cutter.closed(now)
        self.observer.slow = self._cutter.by_power
        if self._time_to_look(now):
            self._book(self._due(now), now)
            self._finish(now)
        self._preview(now)
        if self._windows and self._windows[0].final:
            self._forget()

    def hand_over(self, now: int) -> None:
        """Book what is closed, because other groups take over from here."""
        self._book([window for window in self._windows if not window.final], now)
        self._finish(now)

    def drain(self, now: int) -> None:
        """Settle all: no more readings will come."""
        self._windows += self._cutter.closed(now)
        self._windows += self._cutter.rest()
        self._book([window for window in self._windows if not window.final], now)
        self._finalize(list(self.spans.values()))
        self._forget()

    # --- what is due

    def _time_to_look(self, now: int) -> bool:
        every = min(REFIT, max(self._settle, SWIFT)) if self.rule.learns else SWIFT // 2
        if self._next_look is None:
            self._next_look = now + every
        if now < self._next_look:
            return False
        self._next_look += every * ((now - self._next_look) // every + 1)
        return True

    def _due(self, now: int) -> list[Window]:
        crowd = self._crowd(self.spans.values())
        pending = [window for window in self._windows if not window.final]
        return [w for w in pending if now >= self._due_time(w, crowd.ends[crowd.touching(w)])]

    def _due_time(self, window: Window, ends: Floats) -> float:
        """Give when a window is booked, by the ends of the requests that touch it; some still run."""
        hasty = self._settle if self.rule.learns else SWIFT
        if len(ends) == 0:
            return window.end + hasty
        closed = ends[np.isfinite(ends)]
        last_call = window.end + PATIENCE
        if len(closed):
            last_call = min(last_call, self._ns(float(closed.min())) + self._settle)
        if len(closed) < len(ends) or self.rule.learns:
            return last_call
        return min(last_call, self._ns(float(closed.max())) + hasty)

    # --- booking

    def _book(self, due: Sequence[Window], now: int) -> None:
        windows = _stretch(self._windows, due)
        scene = self._learn(windows, now) if self.rule.learns else None
        scene = scene or self._scene(windows, now)
        if scene is None:
            return
        chosen = {id(window) for window in due}
        busy = scene.cells.sum_by_window(scene.active()) / np.diff(scene.cells.bounds)
        accounts = verdicts(scene, self.rule.share(scene))
        scene.note()
        places = [place for place, window in enumerate(windows) if id(window) in chosen]
        for place in places:
            self.idle.learn(windows[place], float(busy[place]))
        self._books.extend(book(windows, accounts, places))
        self._note_measured(due)

    def _learn(self, due: Sequence[Window], now: int) -> Scene | None:
        """Let the rule look and fit; give the scene of the windows that are due if it still holds."""
        fresh = [window for window in self._windows if window.start >= self._seen_until]
        crowded = len(self.spans) > CROWDED
        young = [fresh] if self._fits < SEASONED else []
        self._fits += 1
        stretches: Sequence[Sequence[Window]] = [*young, due] if crowded else [self._windows]
        scene = None
        for windows in stretches:
            scene = self._scene(windows, now)
            if scene is not None:
                self.rule.look(scene)
                self._seen_until = max(self._seen_until, windows[-1].end)
        self.rule.learn(self.idle.group(), now)
        before = self.observer.lag
        self.observer.lag = before if self.rule.lag is None else self.rule.lag
        return scene if crowded and self.observer.lag == before else None

    def _note_measured(self, windows: Sequence[Window]) -> None:
        """Note who lies in time whose energy is known, even if it was charged nothing."""
        crowd = Crowd(self.spans.values(), self.observer.origin, 0.0)
        for window in windows:
            for span in crowd.within(window) if window.known else ():
                span.measured = True

    def _scene(self, windows: Sequence[Window], now: int) -> Scene | None:
        if not windows:
            return None
        return self.observer.scene(
            windows, self.spans.values(), now, self.idle.group(), idle_known=self.idle.certain
        )

    # --- figures

    def _preview(self, now: int) -> None:
        """Give out provisional figures of requests that ended and are not settled yet."""
        cursor = self._cutter.cursor
        if now < self._next_preview or cursor is None:
            return
        self._next_preview = now + SWIFT * (1 if len(self.spans) < BUSY else 3)
        fresh = [
            span
            for span in self.spans.values()
            if not span.previewed and span.end is not None
            and self._ns(span.end) + SWIFT <= now and self._ns(span.end) <= cursor
        ]  # fmt: skip
        crowd = self._crowd(fresh)
        windows = _stretch(
            self._windows, [w for w in self._windows if not w.final and crowd.touching(w).any()]
        )
        for span in fresh:
            span.previewed = True
        self._settled += self._provisional([span for span in fresh if not span.done], windows, now)

    def _provisional(self, spans: Sequence[Span], windows: Sequence[Window], now: int) -> list[Settled]:
        ahead, others = np.zeros(len(spans)), np.zeros((len(spans), BLOCKS))
        scene = self._scene(windows, now)
        if scene is not None:
            scene.note()
            energy, alternatives = preview(windows, verdicts(scene, self.rule.share(scene)))
            places = {id(span): place for place, span in enumerate(scene.spans)}
            there = np.array([places.get(id(span), -1) for span in spans], dtype=np.int64)
            known = there >= 0
            ahead[known] = energy[there[known]]
            if alternatives is not None:
                others[known] = alternatives[there[known]]
        return provisional_figures(spans, ahead, others, self.rule.name)

    def _finish(self, now: int) -> None:
        crowd = self._crowd([span for span in self.spans.values() if span.end is not None and not span.done])
        pending = [window for window in self._windows if not window.final]
        waits = crowd.waiting(pending, self._cutter.cursor)
        late = waits & (now - crowd.ends * NANO - self.observer.origin > PATIENCE + self._settle)
        lost = [crowd.spans[place] for place in np.flatnonzero(late).tolist()]
        self._finalize([crowd.spans[place] for place in np.flatnonzero(~waits | late).tolist()])
        for span in lost:
            self._give_up(span)

    def _give_up(self, span: Span) -> None:
        """Forget a request that was settled with what is known, because its counter does not come back."""
        del self.spans[span.opened.id]
        self._cutter.blind_until = max(self._cutter.blind_until, self._ns(span.end or 0.0))

    def _finalize(self, spans: Sequence[Span]) -> None:
        ready = [span for span in spans if span.closed is not None and not span.done]
        for span in ready:
            span.done = True
        self._settled += final_figures(ready, self.rule.name)

    def _forget(self) -> None:
        """Drop booked windows and the requests that no open window or request can need."""
        while self._windows and self._windows[0].final:
            self._windows.pop(0)
        oldest = self._windows[0].start if self._windows else self._cutter.cursor
        if oldest is None or not self.spans:
            return
        horizon = min(
            [(oldest - self.observer.origin) / NANO, *(s.start for s in self.spans.values() if not s.done)]
        )
        for key in [key for key, s in self.spans.items() if s.done and (s.end or 0.0) < horizon]:
            del self.spans[key]

    def _crowd(self, spans: Iterable[Span]) -> Crowd:
        return Crowd(spans, self.observer.origin, self.observer.reach)

    def _ns(self, t: float) -> int:
        return self.observer.origin + round(t * NANO)


def _stretch(windows: Sequence[Window], some: Sequence[Window]) -> Sequence[Window]:
    """Give the consecutive windows from the first to the last of some."""
    chosen = {id(window) for window in some}
    places = [place for place, window in enumerate(windows) if id(window) in chosen]
    return windows[places[0] : places[-1] + 1] if places else []
