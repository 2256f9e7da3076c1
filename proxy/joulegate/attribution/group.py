"""Settlement of one group of devices: those that share upstreams.

Windows are cut at counter edges, shared by the rule in force, and booked when all that can be known about
them is known or their time is up. What is booked stays.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from joulegate.attribution.books import Window, book, preview, verdicts
from joulegate.attribution.figures import final_figure, provisional_figure
from joulegate.attribution.idle import IdlePower
from joulegate.attribution.observe import Observer
from joulegate.attribution.rules import Rule
from joulegate.attribution.scene import Scene
from joulegate.attribution.spans import Span
from joulegate.attribution.stepclock import Floats
from joulegate.attribution.timeline import Timeline
from joulegate.model import Settled, WindowBooks
from joulegate.units import NANO

SHORTEST_WINDOW = 3 * NANO // 10
"""ns: 0.3 to 1 s are equally good (0.2 points); shorter ones see the sensor's noise."""
SHORTEST_BY_POWER = NANO
"""ns: power readings are means of a second."""
STALLED = 10 * NANO
"""ns: a device silent for this long does not hold up the others."""
PATIENCE = 120 * NANO
"""ns: how long a window waits for requests that do not end, and a request for a counter that is gone."""
SWIFT = NANO
"""ns after the end of a request until its figure, for rules that learn nothing."""
REFIT = 10 * NANO
"""ns between two fits."""


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
        self.windows: list[Window] = []
        self.settle = settle
        self._shortest = SHORTEST_WINDOW
        self._cursor: int | None = None
        self._next_fit: int | None = None
        self._next_preview = 0
        self._blind_until = 0
        self._settled: list[Settled] = []
        self._books: list[WindowBooks] = []

    def take(self) -> tuple[list[Settled], list[WindowBooks]]:
        """Give what was settled since the last call."""
        settled, books = self._settled, self._books
        self._settled, self._books = [], []
        return settled, books

    def advance(self, now: int) -> None:
        """Close the windows that the counters have passed and settle what is due."""
        if any(line.by_power for line in self.timelines):
            self._shortest, self.observer.slow = SHORTEST_BY_POWER, True
        self._close_windows(now)
        if self._fit_due(now):
            self._settle_windows(now, self._due(now))
        self._preview(now)
        self._finish(now)
        self._forget()

    def hand_over(self, now: int) -> None:
        """Book what is closed, because other groups take over from here."""
        self._settle_windows(now, [window for window in self.windows if not window.final])
        self._finish(now)

    def drain(self, now: int) -> None:
        """Settle all: no more readings will come."""
        self._close_windows(now)
        self._close_rest()
        self._settle_windows(now, [window for window in self.windows if not window.final])
        for span in list(self.spans.values()):
            self._finalize(span)
        self._forget()

    # --- windows

    def _close_windows(self, now: int) -> None:
        if self._cursor is None:
            self._begin(now)
        while self._cursor is not None and (cut := self._next_cut(self._cursor)) is not None:
            self._close(self._cursor, cut)

    def _begin(self, now: int) -> None:
        starts = [line.known_from() for line in self.timelines]
        known = [start for start in starts if start is not None]
        if known and (len(known) == len(starts) or now - min(known) > STALLED):
            self._cursor = min(known)

    def _close(self, start: int, cut: int) -> None:
        energy, gaps = {}, {}
        lead = self._lead()
        edges = [t for t in lead.times if start < t < cut] if lead is not None else []
        inner = [(t, sum(int(line.energy(t) - line.energy(start)) for line in self.timelines)) for t in edges]
        for line in self.timelines:
            energy[line.device.id] = int(line.energy(cut) - line.energy(start))
            gaps[line.device.id] = int(line.gap_within(start, cut))
            line.cut(cut)
        self.windows.append(Window(start, cut, energy, gaps, inner, blind=start < self._blind_until))
        self._cursor = cut

    def _next_cut(self, start: int) -> int | None:
        waiting = [until for line in self.timelines if (until := self._waits_for(line)) is not None]
        lead = self._lead()
        if lead is None or not waiting:
            return None
        horizon = min(waiting)
        breaks = [t for line in self.timelines for t in line.breaks(start)]
        cuts = [t for t in breaks if t <= horizon]
        cuts += [t for t in lead.times if start + self._shortest <= t <= horizon][:1]
        if not cuts and horizon - start >= 2 * self._shortest and lead.times[-1] <= start:
            return horizon
        return min(cuts, default=None)

    def _waits_for(self, line: Timeline) -> int | None:
        """Give the instant up to which a device is known; ``None`` if nobody waits for it."""
        last = line.last_good()
        if last is None or last < max(self._newest()) - STALLED:
            return None
        return line.settled_until()

    def _newest(self) -> list[int]:
        return [last for line in self.timelines if (last := line.last_good()) is not None] or [0]

    def _lead(self) -> Timeline | None:
        """Give the device at whose edges windows are cut: the first that is alive."""
        newest = max(self._newest())
        alive = [
            line for line in self.timelines if (line.last_good() or 0) >= newest - STALLED and line.times
        ]
        return alive[0] if alive else None

    def _close_rest(self) -> None:
        ends = [until for line in self.timelines if (until := line.known_until()) is not None]
        while self._cursor is not None and ends and self._cursor < max(ends):
            breaks = [t for line in self.timelines for t in line.breaks(self._cursor)]
            self._close(self._cursor, min([*breaks, max(ends)]))

    # --- settling

    def _fit_due(self, now: int) -> bool:
        every = REFIT if self.rule.learns else SWIFT // 2
        if self._next_fit is None:
            self._next_fit = now + every
        if now < self._next_fit:
            return False
        self._next_fit += every * ((now - self._next_fit) // every + 1)
        return True

    def _due(self, now: int) -> list[Window]:
        """Give the windows that are to be booked now."""
        pending = [window for window in self.windows if not window.final]
        if not pending:
            return []
        starts, ends = self._times(self.spans.values())
        due = []
        for window in pending:
            low, high = self._seconds(window.start) - self.observer.reach, self._seconds(window.end)
            touching = ends[(starts < high) & (ends > low)]
            if now >= self._due_time(window, touching):
                due.append(window)
        return due

    def _due_time(self, window: Window, ends: Floats) -> float:
        closed = ends[np.isfinite(ends)]
        hasty = self.settle if self.rule.learns else SWIFT
        if len(ends) == 0:
            return window.end + hasty
        origin = self.observer.origin
        last_call = window.end + PATIENCE
        if len(closed):
            last_call = min(last_call, origin + round(float(closed.min()) * NANO) + self.settle)
        if len(closed) < len(ends) or self.rule.learns:
            return last_call
        return min(last_call, origin + round(float(closed.max()) * NANO) + hasty)

    def _settle_windows(self, now: int, due: Sequence[Window]) -> None:
        scene = self._scene(self.windows if self.rule.learns else _stretch(self.windows, due), now)
        if scene is None:
            return
        if self.rule.learns:
            self.rule.learn(scene, now)
            self.observer.lag = self.observer.lag if self.rule.lag is None else self.rule.lag
        if not due:
            return
        windows = self.windows if self.rule.learns else _stretch(self.windows, due)
        chosen = {id(window) for window in due}
        busy = scene.cells.sum_by_window(scene.active()) / np.diff(scene.cells.bounds)
        for window, verdict, active in zip(
            windows, verdicts(scene, self.rule.share(scene)), busy, strict=True
        ):
            if id(window) in chosen:
                self.idle.learn(window, float(active))
                self._books.extend(book(window, verdict))
        self._note_measured(due)

    def _note_measured(self, windows: Sequence[Window]) -> None:
        """Note who lies in time whose energy is known, even if it was charged nothing."""
        spans = list(self.spans.values())
        starts, ends = self._times(spans)
        for window in windows:
            if window.known:
                low, high = self._seconds(window.start), self._seconds(window.end)
                for place in np.flatnonzero((starts < high) & (ends >= low)):
                    spans[place].measured = True

    def _times(self, spans: Iterable[Span]) -> tuple[Floats, Floats]:
        spans = list(spans)
        starts = np.array([span.start for span in spans])
        return starts, np.array([np.inf if span.end is None else span.end for span in spans])

    def _seconds(self, t: int) -> float:
        return (t - self.observer.origin) / NANO

    def _scene(self, windows: Sequence[Window], now: int) -> Scene | None:
        if not windows:
            return None
        return self.observer.scene(windows, self.spans.values(), now, self.idle.group())

    def _preview(self, now: int) -> None:
        """Give out provisional figures of requests that ended and are not settled yet."""
        if now < self._next_preview or self._cursor is None:
            return
        self._next_preview = now + SWIFT
        origin = self.observer.origin
        fresh = [
            span
            for span in self.spans.values()
            if span.closed is not None and not span.previewed
            and origin + (span.end or 0.0) * NANO + SWIFT <= now
            and (span.end or 0.0) <= self._seconds(self._cursor)
        ]  # fmt: skip
        touched = [window for window in self.windows if any(self._overlaps(window, span) for span in fresh)]
        windows = _stretch(self.windows, touched)
        scene = self._scene(windows, now)
        ahead = preview(windows, verdicts(scene, self.rule.share(scene))) if scene is not None else {}
        for span in fresh:
            span.previewed = True
            if any(not window.final and self._overlaps(window, span) for window in touched):
                self._settled.append(provisional_figure(span, *ahead.get(span.id, (0.0, [])), self.rule.name))

    def _finish(self, now: int) -> None:
        origin = self.observer.origin
        pending = [window for window in self.windows if not window.final]
        for span in list(self.spans.values()):
            if span.closed is None or span.end is None or span.done:
                continue
            end = origin + round(span.end * NANO)
            given_up = now - end > PATIENCE + self.settle
            waits = self._cursor is None or self._seconds(self._cursor) < span.end + self.observer.reach
            waits = waits or any(self._overlaps(window, span) for window in pending)
            if not waits or given_up:
                self._finalize(span)
            if waits and given_up:
                del self.spans[span.opened.id]
                self._blind_until = max(self._blind_until, end)

    def _finalize(self, span: Span) -> None:
        if span.closed is not None and not span.done:
            span.done = True
            self._settled.append(final_figure(span, self.rule.name))

    def _overlaps(self, window: Window, span: Span) -> bool:
        """Say whether a window can hold energy of a request: counters lag, and engines notice late."""
        end = np.inf if span.end is None else span.end + self.observer.reach
        return self._seconds(window.end) > span.start and self._seconds(window.start) < end

    def _forget(self) -> None:
        """Drop booked windows and the requests that no open window can need."""
        while self.windows and self.windows[0].final:
            self.windows.pop(0)
        origin = self.observer.origin
        oldest = self.windows[0].start if self.windows else self._cursor
        if oldest is None:
            return
        horizon = (oldest - origin) / NANO
        open_starts = [span.start for span in self.spans.values() if not span.done]
        horizon = min([horizon, *open_starts])
        gone = [key for key, span in self.spans.items() if span.done and (span.end or 0.0) < horizon]
        for key in gone:
            del self.spans[key]


def _stretch(windows: Sequence[Window], some: Sequence[Window]) -> Sequence[Window]:
    """Give the consecutive windows from the first to the last of some."""
    chosen = {id(window) for window in some}
    places = [place for place, window in enumerate(windows) if id(window) in chosen]
    return windows[places[0] : places[-1] + 1] if places else []
