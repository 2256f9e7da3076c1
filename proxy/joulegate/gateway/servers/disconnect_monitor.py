"""What becomes of a request whose client has left: its server is stopped, and watched until it has stopped.

The span stays open until then, so that what the server still burns is booked as waste of this request. One
task looks after all such requests of one upstream; it asks the server's own gauge, for a short time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from joulegate.errors import UpstreamError
from joulegate.gateway.http.background_tasks import BackgroundTasks
from joulegate.gateway.http.call import call
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.servers.recognition import answer_of, every
from joulegate.gateway.spans.request_span import CloseSpan
from joulegate.model import Outcome
from joulegate.ports.servers import (
    AbandonedRequest,
    ConfirmsRequest,
    ReportsLoad,
    Server,
    StopCall,
    StopsWork,
)
from joulegate.units import NANO, Nanoseconds

PACE = 0.1
"""Seconds between two looks at first; each is twice as long as the one before."""
SLOWEST = 2.0
GRACE = Nanoseconds(3 * NANO)
"""A server that stops does so at its next step; one that works longer goes on regardless."""
HELD = Nanoseconds(120 * NANO)
"""A request is given up after that: something else may be keeping the server busy."""


class WatchedDisconnect:
    """One request whose client has left."""

    __slots__ = ("departure", "left", "stop", "t")

    def __init__(
        self, t: Nanoseconds, left: AbandonedRequest, call: StopCall | None, departure: CloseSpan
    ) -> None:
        self.t = t
        self.left = left
        self.stop = call
        """Not sent yet."""
        self.departure = departure


class DisconnectMonitor:
    """Looks after the abandoned requests of one server and one gate.

    ``others`` gives the requests of this gate that the server works on; with ``alone`` there is no other
    gate, so that more than these is one whose client has left. ``verdict`` is told whether it worked on.
    """

    def __init__(
        self,
        pool: Pool,
        tasks: BackgroundTasks,
        clock: Callable[[], Nanoseconds],
        others: Callable[[], int],
        verdict: Callable[[bool], None],
        *,
        alone: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pool = pool
        self._tasks = tasks
        self._clock = clock
        self._others = others
        self._verdict = verdict
        self._alone = alone
        self._sleep = sleep
        self._gone: list[WatchedDisconnect] = []
        self._watched = False

    def take(
        self, kind: str, left: AbandonedRequest, t: Nanoseconds, depart: Callable[[], CloseSpan]
    ) -> bool:
        """Look after a request that was just cut, if there is something to do; else say so."""
        server = every().get(kind)
        if server is None:
            return False
        ending = (
            answer_of(server, partial(server.stop, left), None) if isinstance(server, StopsWork) else None
        )
        if ending is None and not isinstance(server, ReportsLoad):
            return False
        self._gone.append(WatchedDisconnect(t, left, ending, depart()))
        if not self._watched:
            self._watched = True
            self._tasks.run(self._watch(server))
        return True

    def end(self) -> None:
        """Close all that is held, because nobody looks any more: the gate ends and cancels the watch."""
        for gone in self._gone:
            gone.departure(self._clock(), Outcome.CANCELLED)
        self._gone.clear()

    async def _watch(self, server: Server) -> None:
        pace = PACE
        try:
            while self._gone:
                await self._stop_new(server)
                running = await self._running(server)
                self._judge(running, self._clock())
                if self._gone:
                    await self._sleep(pace)
                    pace = min(2 * pace, SLOWEST)
        finally:
            self._watched = False
            self.end()

    async def _stop_new(self, server: Server) -> None:
        for gone in self._gone:
            ending, gone.stop = gone.stop, None
            if ending is not None:
                await self._send(server, gone.left, ending)

    async def _send(self, server: Server, left: AbandonedRequest, ending: StopCall) -> None:
        try:
            if ending.before is not None:
                mine = self._alone and not self._others() and len(self._gone) == 1
                if not mine or not isinstance(server, ConfirmsRequest):
                    return
                shown = await call(self._pool, "GET", ending.before)
                if not answer_of(server, partial(server.runs, left, shown), False):
                    return
            await call(self._pool, ending.method, ending.path, ending.body)
        except UpstreamError:
            return  # It is gone, and its work with it; or the gauge will tell.

    async def _running(self, server: Server) -> int | None:
        if not isinstance(server, ReportsLoad):
            return None
        try:
            shown = await call(self._pool, "GET", server.gauge)
        except UpstreamError:
            return None
        return answer_of(server, partial(server.running, shown), None)

    def _judge(self, running: int | None, now: Nanoseconds) -> None:
        """Close what has stopped; what nothing is known of is closed as of when its client left."""
        if running is None:
            self._close(self._gone, None)
        elif running <= self._others():
            self._verdict_of(now)
            self._close(self._gone, now)
        else:
            late = [gone for gone in self._gone if now - gone.t >= GRACE]
            if late and self._alone:
                self._verdict(True)  # noqa: FBT003, RUF100 (the answer to a question)
                self._close([gone for gone in late if now - gone.t >= HELD], now)
            else:
                self._close(late, None)

    def _verdict_of(self, now: Nanoseconds) -> None:
        if self._alone:
            self._verdict(any(now - gone.t >= GRACE for gone in self._gone))

    def _close(self, which: list[WatchedDisconnect], now: Nanoseconds | None) -> None:
        self._gone = [gone for gone in self._gone if gone not in which]
        for gone in which:
            overran = now is not None and self._alone and now - gone.t >= GRACE
            gone.departure(gone.t if now is None else now, Outcome.OVERRAN if overran else Outcome.CANCELLED)
