"""Settlement of one group of devices: those that share upstreams.

Windows are shared by the rule in force, and booked when all that can be known about them is known or their
time is up. What is booked stays. Many requests are looked at in pieces, so that no call takes long.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import numpy as np

from joulegate.attribution.booking import previews
from joulegate.attribution.booking.account import Account
from joulegate.attribution.booking.books import Allocation, allocate, book, describe
from joulegate.attribution.booking.deadlines import LONGEST_WAIT, Deadlines, stretch
from joulegate.attribution.booking.figures import final_figures
from joulegate.attribution.booking.idle import IdlePower
from joulegate.attribution.features.counter_lag import CounterLag
from joulegate.attribution.features.feature_builder import CONTEXT_S, FeatureBuilder
from joulegate.attribution.features.window_features import DeviceState, WindowFeatures
from joulegate.attribution.features.window_overlap import WindowOverlap
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.request_index import RequestIndex
from joulegate.attribution.input.timeline import Timeline
from joulegate.attribution.input.windows import Cutter, Window
from joulegate.attribution.maths.arrays import Seconds
from joulegate.attribution.rules import Rule
from joulegate.model import Settled, WindowBooks
from joulegate.units import NANO, Nanoseconds, nanoseconds

FIGURE_DELAY = nanoseconds(1)
"""Time from the end of a request to its figure, for rules that learn nothing."""
REFIT_EVERY = nanoseconds(10)
"""Time between two fits; less if figures are to be final sooner."""
MANY_REQUESTS = 2000
"""Requests above which windows are looked at twice only, a few at a time: when they are new and when they are
due. Below it, a fit looks again at all windows, and a provisional figure at all windows of its request."""
ENOUGH_FITS = 12
"""Fits after which new windows of many requests are not learned from: those that are due are enough."""
PIECE_REQUESTS = 4500
"""Of many requests, those that are looked at in one go, for about a tenth of a second."""
ENOUGH_NEW_WINDOWS, MAX_PIECE_WINDOWS = 10, 20
"""New windows that are worth a look, for requests around them are looked at too; and most in one go."""
LEARNING_TIME = nanoseconds(30)
"""Time for which a fit looks at a window, booked or not: work without an end at booking has one by then."""


class Group:
    """Devices that are settled together."""

    def __init__(
        self,
        timelines: Sequence[Timeline],
        builder: FeatureBuilder,
        rule: Rule,
        idle: IdlePower,
        settle: Nanoseconds,
    ) -> None:
        self.timelines = timelines
        self.builder = builder
        self.rule = rule
        self.idle = idle
        self.unsettled: dict[int, Account] = {}
        """Accounts without a final figure, by the places of their requests, in the order of arrival."""
        self._accounts: dict[int, Account] = {}
        """Those of all requests in the index."""
        self._requests = RequestIndex()
        self._lag = CounterLag()
        self._windows: list[Window] = []
        self._booked: set[int] = set()
        """Starts of the windows that are booked."""
        self._settle = settle
        self._deadlines = Deadlines(settle, FIGURE_DELAY, builder.origin, learns=rule.learns)
        self._cutter = Cutter(timelines)
        self._seen_until = Nanoseconds(0)
        self._many_since: Nanoseconds | None = None
        self._fits = 0
        self._next_fit = Nanoseconds(0)
        self._next_look: Nanoseconds | None = None
        self._due_at: Nanoseconds | None = None
        self._next_preview = Nanoseconds(0)
        self._settled: list[Settled] = []
        self._books: list[WindowBooks] = []

    def add(self, account: Account) -> None:
        """Accept a request without a final figure."""
        place = account.request.place
        self._requests.add(account.request)
        self._accounts[place] = self.unsettled[place] = account

    def take(self) -> tuple[list[Settled], list[WindowBooks]]:
        """Return what was settled since the last call, and forget it."""
        settled, books = self._settled, self._books
        self._settled, self._books = [], []
        return settled, books

    def advance(self, now: Nanoseconds) -> None:
        """Close the windows that the counters have passed and settle what is due."""
        self._windows += self._cutter.closed(now)
        self._lag = self._lag.updated(None, slow=self._cutter.by_power)
        self._notice_many()
        if self._time_to_look(now):
            if self._fits < ENOUGH_FITS or now >= self._next_fit:
                self._learn(now)
            self._due_at = now
        self._book_due(now)
        if self._many_since is None:
            self._preview(now)
        else:
            self._estimate_new(now)
        if self._windows and self._windows[0].start in self._booked:
            self._forget()

    def hand_over(self, now: Nanoseconds) -> None:
        """Book what is closed, because other groups take over from here."""
        self._learn(now)
        self._book(self._pending(), now)
        self._finish(self._ended(), now)

    def drain(self, now: Nanoseconds) -> None:
        """Settle all: no more readings will come."""
        self._windows += self._cutter.closed(now)
        self._windows += self._cutter.rest()
        self._learn(now)
        self._notice_many()
        while pending := self._pending():
            self._book(self._piece(pending), now)
        self._finalize(list(self.unsettled.values()))
        self._forget()

    def _pending(self) -> list[Window]:
        """Return the windows that are not booked."""
        return [window for window in self._windows if window.start not in self._booked]

    # --- what is due

    def _notice_many(self) -> None:
        if len(self._requests) <= MANY_REQUESTS:
            self._many_since = None
        elif self._many_since is None:
            self._many_since = self._windows[-1].end if self._windows else Nanoseconds(0)
            self._seen_until = max(self._seen_until, self._many_since)

    def _piece(self, windows: Sequence[Window]) -> Sequence[Window]:
        """Return the first of these windows, as many as are looked at in one go."""
        if self._many_since is None or len(windows) < 2:
            return windows
        start, places = self._s(windows[0].start), range(1, min(len(windows), MAX_PIECE_WINDOWS) + 1)
        few = bisect_right(
            places, PIECE_REQUESTS, key=lambda n: self._requests.about(start, self._s(windows[n - 1].end))
        )
        return windows[: max(few, 1)]

    def _time_to_look(self, now: Nanoseconds) -> bool:
        every = min(REFIT_EVERY, max(self._settle, FIGURE_DELAY)) if self.rule.learns else FIGURE_DELAY // 2
        if self._next_look is None:
            self._next_look = Nanoseconds(now + every)
        if now < self._next_look:
            return False
        missed = (now - self._next_look) // every
        self._next_look = Nanoseconds(self._next_look + every * (missed + 1))
        return True

    def _due(self, now: Nanoseconds) -> list[Window]:
        """Return windows that are due: all, or of many requests the first that are looked at in one go."""
        old = now - self._deadlines.least_wait + round(self._lag.reach * NANO)
        pending = [window for window in self._pending() if window.start <= old]
        while pending:
            some = self._piece(pending)
            pending = pending[len(some) :]
            overlap = self._overlap(self._near(some))
            due = [w for w in some if now >= self._deadlines.due(w, overlap.ends[overlap.touching(w)])]
            if due:
                return due
        return []

    # --- learning and booking

    def _learn(self, now: Nanoseconds) -> None:
        """Let the rule fit, to all windows looked at anew unless there are many requests."""
        if not self.rule.learns:
            return
        self._next_fit = Nanoseconds(now + REFIT_EVERY - FIGURE_DELAY)
        self._fits += 1
        features = self._features(self._windows, now) if self._many_since is None else None
        lag = self.rule.fit(features, self.idle.group(), now)
        self._lag = self._lag.updated(lag, slow=self._lag.slow)

    def _book_due(self, now: Nanoseconds) -> None:
        """Book what was due at the last look, a piece at a time."""
        if self._due_at is None:
            return
        due = self._due(self._due_at)
        self._book(due, now)
        if due and self._many_since is not None:
            near = [self.unsettled.get(request.place) for request in self._near(due)]
            self._finish([one for one in near if one is not None and one.request.end is not None], now)
        else:
            self._due_at = None
            self._finish(self._ended(), now)

    def _book(self, due: Sequence[Window], now: Nanoseconds) -> None:
        windows = stretch(self._windows, due)
        features = self._features(windows, now)
        if features is None:
            return
        chosen = {id(window) for window in due}
        busy = features.cells.sum_by_window(features.active()) / np.diff(features.cells.bounds)
        learn = self.rule.learns and self._many_since is not None
        allocation = self._allocate(features, learn=learn)
        places = [place for place, window in enumerate(windows) if id(window) in chosen]
        for place in places:
            self.idle.learn(windows[place], float(busy[place]))
        self._books.extend(book(windows, allocation, places, self.unsettled.keys()))
        self._booked.update(window.start for window in due)
        self._note_measured(due)

    def _allocate(self, features: WindowFeatures, *, learn: bool) -> Allocation:
        shares = self.rule.share(features, learn=learn)
        accounts = [self._accounts[request.place] for request in features.requests]
        describe(features, shares, accounts)
        return allocate(features, shares, accounts)

    def _note_measured(self, windows: Sequence[Window]) -> None:
        """Record which requests lie in time whose energy is known, even if nothing was charged."""
        new = [one for one in self._near(windows) if not self._accounts[one.place].measured]
        overlap = WindowOverlap(new, self.builder.origin, 0.0)
        for window in windows:
            for request in overlap.within(window) if window.known else ():
                self._accounts[request.place].measure()

    def _features(self, windows: Sequence[Window], now: Nanoseconds) -> WindowFeatures | None:
        if not windows:
            return None
        devices = DeviceState(len(self.timelines), self.idle.group(), self.idle.certain)
        return self.builder.build(windows, self._near(windows), now, devices, self._lag)

    # --- figures

    def _preview(self, now: Nanoseconds) -> None:
        """Give provisional figures of requests that ended and are not settled yet."""
        cursor = self._cutter.cursor
        if now < self._next_preview or cursor is None:
            return
        self._next_preview = Nanoseconds(now + FIGURE_DELAY)
        accounts = previews.fresh(
            self.unsettled.values(), self._s(min(Nanoseconds(now - FIGURE_DELAY), cursor))
        )
        overlap = self._overlap([account.request for account in accounts])
        windows = stretch(self._windows, [w for w in self._pending() if overlap.touching(w).any()])
        features = self._features(windows, now)
        allocation = None if features is None else self._allocate(features, learn=False)
        self._settled += previews.expected(accounts, windows, allocation, self.rule.name, self._booked)

    def _estimate_new(self, now: Nanoseconds) -> None:
        """Estimate windows of many requests once, when they are new, and give figures as far as they go."""
        new = [w for w in self._windows if w.start >= self._seen_until and w.end + FIGURE_DELAY <= now]
        windows = self._piece(new)
        if len(windows) == len(new) < ENOUGH_NEW_WINDOWS:
            return
        features = self._features(windows, now)
        if features is None:
            return
        self._seen_until = windows[-1].end
        allocation = self._allocate(features, learn=self.rule.learns and self._fits < ENOUGH_FITS)
        previews.expect(windows, allocation, self._booked)
        since = self._s(self._many_since or Nanoseconds(0))
        there = [self.unsettled.get(request.place) for request in features.requests if request.start >= since]
        whole = [account for account in there if account is not None]
        accounts = previews.fresh(whole, self._s(min(Nanoseconds(now - FIGURE_DELAY), self._seen_until)))
        self._settled += previews.first_estimates(accounts, self.rule.name)

    def _ended(self) -> list[Account]:
        return [account for account in self.unsettled.values() if account.request.end is not None]

    def _finish(self, accounts: Sequence[Account], now: Nanoseconds) -> None:
        """Settle those of these requests, which have ended, of which no energy is to come."""
        overlap = self._overlap([account.request for account in accounts])
        waits = overlap.waiting(self._pending(), self._cutter.cursor)
        late = waits & (now - overlap.ends * NANO - self.builder.origin > LONGEST_WAIT + self._settle)
        self._finalize([accounts[place] for place in np.flatnonzero(~waits | late).tolist()])
        self._give_up([accounts[place].request for place in np.flatnonzero(late).tolist()])

    def _give_up(self, requests: Sequence[RequestInput]) -> None:
        """Forget requests that were settled with what is known, because their counter does not come back."""
        if not requests:
            return
        self._requests.remove(requests)
        for request in requests:
            del self._accounts[request.place]
        self._cutter.blind(max(self._ns(request.end or 0.0) for request in requests))

    def _finalize(self, accounts: Sequence[Account]) -> None:
        ready = [account for account in accounts if account.request.closed is not None]
        for account in ready:
            del self.unsettled[account.request.place]
        self._settled += final_figures(ready, self.rule.name)

    def _forget(self) -> None:
        """Drop booked windows and the requests that no open window or request can need."""
        learned_until = (self._cutter.cursor or 0) - (LEARNING_TIME if self.rule.learns else 0)
        kept = (
            at for at, w in enumerate(self._windows) if w.start not in self._booked or w.end > learned_until
        )
        first = next(kept, len(self._windows))
        self._booked.difference_update([window.start for window in self._windows[:first]])
        del self._windows[:first]
        oldest = self._windows[0].start if self._windows else self._cutter.cursor
        if oldest is not None:
            self._requests.trim(self._s(oldest) - self._lag.reach - CONTEXT_S)
            unsettled = self.unsettled.keys()
            horizon = min(self._s(oldest), self._requests.first_start(unsettled))
            for request in self._requests.forget(horizon, unsettled):
                del self._accounts[request.place]

    # --- who is there

    def _near(self, windows: Sequence[Window]) -> list[RequestInput]:
        """Return the requests that matter for consecutive windows; images queue behind earlier ones."""
        if not windows:
            return []
        start = self._s(windows[0].start) - self._lag.reach - CONTEXT_S
        end = self._s(windows[-1].end)
        there = self._requests.near(start, end)
        queues = there if self._many_since is None else self.builder.drawn(there)
        queued = min((request.start for request in queues if not request.times), default=start)
        return there if queued >= start else self._requests.near(queued, end)

    def _overlap(self, requests: Iterable[RequestInput]) -> WindowOverlap:
        return WindowOverlap(requests, self.builder.origin, self._lag.reach)

    def _ns(self, t: Seconds) -> Nanoseconds:
        return Nanoseconds(self.builder.origin + round(t * NANO))

    def _s(self, t: Nanoseconds) -> Seconds:
        return (t - self.builder.origin) / NANO
