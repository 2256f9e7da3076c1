"""One timer for a whole gate: deadlines of all exchanges, and how late the loop itself is."""

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import Protocol

from joulegate.units import NANO, Nanoseconds, seconds

_SHORTEST = Nanoseconds(NANO // 100)
_LONGEST = Nanoseconds(NANO // 2)
_PARTS = 8
"""A deadline is met within this part of it."""


class Watched(Protocol):
    """Something with deadlines."""

    def check(self, now: Nanoseconds) -> None:
        """Do what is due."""
        ...


class Watchdog:
    """Looks after everything with a deadline, at the pace of the shortest one.

    One timer for all: a timer of its own for each chunk of each stream would cost more than the relay.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], Nanoseconds], shortest: Nanoseconds
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._period = Nanoseconds(min(max(shortest // _PARTS, _SHORTEST), _LONGEST))
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = Nanoseconds(0)
        self._lag = Nanoseconds(0)

    def add(self, watched: Watched) -> None:
        """Look after this from now on."""
        self._watched.add(watched)

    def discard(self, watched: Watched) -> None:
        """Look after this no longer."""
        self._watched.discard(watched)

    def start(self) -> None:
        """Begin."""
        self._due = Nanoseconds(self._clock() + self._period)
        self._timer = self._loop.call_later(seconds(self._period), self._tick)

    def stop(self) -> None:
        """End."""
        if self._timer:
            self._timer.cancel()

    def lag(self) -> Nanoseconds:
        """Return the longest stall of the loop since the last call."""
        lag, self._lag = self._lag, Nanoseconds(0)
        return lag

    def _tick(self) -> None:
        now = self._clock()
        self._lag = max(self._lag, Nanoseconds(now - self._due))
        for watched in tuple(self._watched):
            watched.check(now)
        self.start()


class Hangups:
    """Notices that a peer has closed while reading from it is paused.

    A paused transport does not see the end of its connection, so a client that leaves in the middle of an
    upload would hold the upstream for as long as that does not read. ``EPOLLRDHUP`` tells (epoll_ctl(2),
    Linux); elsewhere the timeouts have to do.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._calls: dict[int, Callable[[], None]] = {}
        if self._epoll:
            loop.add_reader(self._epoll.fileno(), self._ready)

    def watch(self, transport: asyncio.Transport, gone: Callable[[], None]) -> int:
        """Call ``gone`` when the peer closes; return what ``forget`` takes."""
        peer = transport.get_extra_info("socket")
        number = peer.fileno() if peer else -1
        if self._epoll and number >= 0:
            self._calls[number] = gone
            with contextlib.suppress(FileExistsError):
                self._epoll.register(number, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)
        return number

    def forget(self, number: int) -> None:
        """Look no longer."""
        if self._calls.pop(number, None) and self._epoll:
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(number)

    def close(self) -> None:
        """Let go of the operating system's object."""
        if self._epoll:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _ready(self) -> None:
        for number, _ in self._epoll.poll(0) if self._epoll else ():
            gone = self._calls.get(number)
            self.forget(number)
            if gone:
                gone()
