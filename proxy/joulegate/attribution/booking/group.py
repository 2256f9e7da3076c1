"""Settlement of one group of devices: those that share upstreams.

Windows are shared by the rule in force, and booked when all that can be known about them is known or their
time is up. What is booked stays. A crowd of requests is looked at in pieces, so that no call takes long.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import numpy as np

from joulegate.attribution.booking import previews
from joulegate.attribution.booking.books import Verdicts, book, verdicts
from joulegate.attribution.booking.deadlines import PATIENCE, Deadlines, stretch
from joulegate.attribution.booking.figures import final_figures
from joulegate.attribution.booking.idle import IdlePower
from joulegate.attribution.features.feature_builder import CONTEXT, FeatureBuilder
from joulegate.attribution.features.window_features import Scene
from joulegate.attribution.features.window_overlap import WindowOverlap
from joulegate.attribution.input.request import AttributedSpan
from joulegate.attribution.input.request_index import SpanIndex
from joulegate.attribution.input.timeline import Timeline
from joulegate.attribution.input.windows import Cutter, Window
from joulegate.attribution.rules import Rule
from joulegate.model import Settled, WindowBooks
from joulegate.units import NANO

SWIFT = NANO
"""ns after the end of a request until its figure, for rules that learn nothing."""
REFIT = 10 * NANO
"""ns between two fits; less if figures are to be final sooner."""
CROWDED = 2000
"""Requests above which windows are looked at twice only, a few at a time: when they are new and when they are
due. Below it, a fit looks again at all windows, and a provisional figure at all windows of its request."""
SEASONED = 12
"""Fits after which new windows teach a crowd's fit nothing: windows that are due are enough."""
PIECE = 4500
"""Requests of a crowd that are looked at in one go, for about a tenth of a second."""
MANY, MOST = 10, 20
"""New windows that are worth a look, for requests around them are looked at too; and most in one go."""
TAUGHT = 30 * NANO
"""ns for which a fit looks at a window, booked or not: work without an end at booking has one by then."""


class Group:
    """Devices that are settled together."""

    def __init__(
        self,
        timelines: Sequence[Timeline],
        observer: FeatureBuilder,
        rule: Rule,
        idle: IdlePower,
        settle: int,
    ) -> None:
        self.timelines = timelines
        self.observer = observer
        self.rule = rule
        self.idle = idle
        self.spans = SpanIndex()
        self._windows: list[Window] = []
        self._settle = settle
        self._terms = Deadlines(settle, SWIFT, observer.origin, learns=rule.learns)
        self._cutter = Cutter(timelines)
        self._seen_until = 0
        self._crowded_since: int | None = None
        self._fits = 0
        self._next_fit = 0
        self._next_look: int | None = None
        self._due_at: int | None = None
        self._next_preview = 0
        self._settled: list[Settled] = []
        self._books: list[WindowBooks] = []

    def take(self) -> tuple[list[Settled], list[WindowBooks]]:
        """Return what was settled since the last call."""
        settled, books = self._settled, self._books
        self._settled, self._books = [], []
        return settled, books

    def advance(self, now: int) -> None:
        """Close the windows that the counters have passed and settle what is due."""
        self._windows += self._cutter.closed(now)
        self.observer.slow = self._cutter.by_power
        self._mind_the_crowd()
        if self._time_to_look(now):
            if self._fits < SEASONED or now >= self._next_fit:
                self._learn(now)
            self._due_at = now
        self._book_due(now)
        if self._crowded_since is None:
            self._preview(now)
        else:
            self._glimpse(now)
        if self._windows and self._windows[0].final:
            self._forget()

    def hand_over(self, now: int) -> None:
        """Book what is closed, because other groups take over from here."""
        self._learn(now)
        self._book([window for window in self._windows if not window.final], now)
        self._finish(self._ended(), now)

    def drain(self, now: int) -> None:
        """Settle all: no more readings will come."""
        self._windows += self._cutter.closed(now)
        self._windows += self._cutter.rest()
        self._learn(now)
        self._mind_the_crowd()
        while pending := [window for window in self._windows if not window.final]:
            self._book(self._piece(pending), now)
        self._finalize(list(self.spans))
        self._forget()

    # --- what is due

    def _mind_the_crowd(self) -> None:
        if len(self.spans) <= CROWDED:
            self._crowded_since = None
        elif self._crowded_since is None:
            self._crowded_since = self._windows[-1].end if self._windows else 0
            self._seen_until = max(self._seen_until, self._crowded_since)

    def _piece(self, windows: Sequence[Window]) -> Sequence[Window]:
        """Return the first of these windows, as many as are looked at in one go."""
        if self._crowded_since is None or len(windows) < 2:
            return windows
        start, places = self._s(windows[0].start), range(1, min(len(windows), MOST) + 1)
        few = bisect_right(places, PIECE, key=lambda n: self.spans.about(start, self._s(windows[n - 1].end)))
        return windows[: max(few, 1)]

    def _time_to_look(self, now: int) -> bool:
        every = min(REFIT, max(self._settle, SWIFT)) if self.rule.learns else SWIFT // 2
        if self._next_look is None:
            self._next_look = now + every
        if now < self._next_look:
            return False
        self._next_look += every * ((now - self._next_look) // every + 1)
        return True

    def _due(self, now: int) -> list[Window]:
        """Return windows that are due: all, or of a crowd the first that are looked at in one go."""
        old = now - self._terms.hasty + round(self.observer.reach * NANO)
        pending = [window for window in self._windows if not window.final and window.start <= old]
        while pending:
            some = self._piece(pending)
            pending = pending[len(some) :]
            crowd = self._crowd(self._near(some))
            due = [w for w in some if now >= self._terms.due(w, crowd.ends[crowd.touching(w)])]
            if due:
                return due
        return []

    # --- learning and booking

    def _learn(self, now: int) -> None:
        """Let the rule fit; below a crowd it looks at all windows first."""
        if not self.rule.learns:
            return
        self._next_fit = now + REFIT - SWIFT
        self._fits += 1
        if self._crowded_since is None and (scene := self._scene(self._windows, now)) is not None:
            self.rule.look(scene)
        self.rule.learn(self.idle.group(), now)
        self.observer.lag = self.observer.lag if self.rule.lag is None else self.rule.lag

    def _book_due(self, now: int) -> None:
        """Book what was due at the last look, a piece at a time."""
        if self._due_at is None:
            return
        due = self._due(self._due_at)
        self._book(due, now)
        if due and self._crowded_since is not None:
            self._finish([span for span in self._near(due) if span.end is not None and not span.done], now)
        else:
            self._due_at = None
            self._finish(self._ended(), now)

    def _book(self, due: Sequence[Window], now: int) -> None:
        windows = stretch(self._windows, due)
        scene = self._scene(windows, now)
        if scene is None:
            return
        if self.rule.learns and self._crowded_since is not None:
            self.rule.look(scene)
        chosen = {id(window) for window in due}
        busy = scene.cells.sum_by_window(scene.active()) / np.diff(scene.cells.bounds)
        accounts = self._shared(scene)
        places = [place for place, window in enumerate(windows) if id(window) in chosen]
        for place in places:
            self.idle.learn(windows[place], float(busy[place]))
        self._books.extend(book(windows, accounts, places))
        self._note_measured(due)

    def _shared(self, scene: Scene) -> Verdicts:
        scene.note()
        return verdicts(scene, self.rule.share(scene))

    def _note_measured(self, windows: Sequence[Window]) -> None:
        """Record who lies in time whose energy is known, even if it was charged nothing."""
        new = [span for span in self._near(windows) if not span.measured]
        crowd = WindowOverlap(new, self.observer.origin, 0.0)
        for window in windows:
            for span in crowd.within(window) if window.known else ():
                span.measured = True

    def _scene(self, windows: Sequence[Window], now: int) -> Scene | None:
        if not windows:
            return None
        return self.observer.scene(
            windows, self._near(windows), now, self.idle.group(), idle_known=self.idle.certain
        )

    # --- figures

    def _preview(self, now: int) -> None:
        """Return out provisional figures of requests that ended and are not settled yet."""
        cursor = self._cutter.cursor
        if now < self._next_preview or cursor is None:
            return
        self._next_preview = now + SWIFT
        spans = previews.fresh(self.spans, self._s(min(now - SWIFT, cursor)))
        crowd = self._crowd(spans)
        windows = stretch(
            self._windows, [w for w in self._windows if not w.final and crowd.touching(w).any()]
        )
        scene = self._scene(windows, now)
        accounts = None if scene is None else self._shared(scene)
        self._settled += previews.expected(spans, windows, accounts, self.rule.name)

    def _glimpse(self, now: int) -> None:
        """Look at windows of a crowd when they are new, once, and return out figures as far as they go."""
        new = [w for w in self._windows if w.start >= self._seen_until and w.end + SWIFT <= now]
        windows = self._piece(new)
        if len(windows) == len(new) < MANY:
            return
        scene = self._scene(windows, now)
        if scene is None:
            return
        self._seen_until = windows[-1].end
        if self.rule.learns and self._fits < SEASONED:
            self.rule.look(scene)
        previews.glimpse(windows, self._shared(scene))
        since = self._s(self._crowded_since or 0)
        whole = [span for span in scene.spans if span.start >= since]
        spans = previews.fresh(whole, self._s(min(now - SWIFT, self._seen_until)))
        self._settled += previews.glimpsed(spans, self.rule.name)

    def _ended(self) -> list[AttributedSpan]:
        return [span for span in self.spans if span.end is not None and not span.done]

    def _finish(self, spans: Sequence[AttributedSpan], now: int) -> None:
        """Settle those of these requests, which have ended, of which no energy is to come."""
        crowd = self._crowd(spans)
        pending = [window for window in self._windows if not window.final]
        waits = crowd.waiting(pending, self._cutter.cursor)
        late = waits & (now - crowd.ends * NANO - self.observer.origin > PATIENCE + self._settle)
        self._finalize([crowd.spans[place] for place in np.flatnonzero(~waits | late).tolist()])
        self._give_up([crowd.spans[place] for place in np.flatnonzero(late).tolist()])

    def _give_up(self, spans: Sequence[AttributedSpan]) -> None:
        """Forget requests that were settled with what is known, because their counter does not come back."""
        if not spans:
            return
        self.spans.remove(spans)
        ends = [self._ns(span.end or 0.0) for span in spans]
        self._cutter.blind_until = max([self._cutter.blind_until, *ends])

    def _finalize(self, spans: Sequence[AttributedSpan]) -> None:
        ready = [span for span in spans if span.closed is not None and not span.done]
        for span in ready:
            span.done = True
        self._settled += final_figures(ready, self.rule.name)

    def _forget(self) -> None:
        """Drop booked windows and the requests that no open window or request can need."""
        taught = (self._cutter.cursor or 0) - (TAUGHT if self.rule.learns else 0)
        over = (at for at, w in enumerate(self._windows) if not w.final or w.end > taught)
        del self._windows[: next(over, len(self._windows))]
        oldest = self._windows[0].start if self._windows else self._cutter.cursor
        if oldest is not None:
            self.spans.trim(self._s(oldest) - self.observer.reach - CONTEXT)
            self.spans.forget(min(self._s(oldest), self.spans.first_start()))

    # --- who is there

    def _near(self, windows: Sequence[Window]) -> list[AttributedSpan]:
        """Return the requests that matter for consecutive windows; images queue behind earlier ones."""
        if not windows:
            return []
        start = self._s(windows[0].start) - self.observer.reach - CONTEXT
        end = self._s(windows[-1].end)
        there = self.spans.near(start, end)
        queues = there if self._crowded_since is None else self.observer.drawn(there)
        queued = min((span.start for span in queues if not span.times), default=start)
        return there if queued >= start else self.spans.near(queued, end)

    def _crowd(self, spans: Iterable[AttributedSpan]) -> WindowOverlap:
        return WindowOverlap(spans, self.observer.origin, self.observer.reach)

    def _ns(self, t: float) -> int:
        return self.observer.origin + round(t * NANO)

    def _s(self, t: int) -> float:
        return (t - self.observer.origin) / NANO
