"""Deadlines and departures."""

import asyncio
import socket

from joulegate.gateway.http.timers import Hangups, Watchdog
from joulegate.units import NANO, Nanoseconds


class Ticks:
    """Wakes a test when it is looked after."""

    def __init__(self) -> None:
        self.at: list[int] = []
        self.looked = asyncio.Event()

    def check(self, now: Nanoseconds) -> None:
        self.at.append(now)
        self.looked.set()


async def test_what_is_added_is_looked_after_until_it_is_discarded() -> None:
    """One timer serves all, also those that come and go while it runs."""
    now = [0]
    watchdog = Watchdog(asyncio.get_running_loop(), lambda: Nanoseconds(now[0]), Nanoseconds(NANO // 100))
    stays, goes = Ticks(), Ticks()
    watchdog.add(stays)
    watchdog.add(goes)
    watchdog.start()
    now[0] = 5
    async with asyncio.timeout(5):
        await asyncio.gather(stays.looked.wait(), goes.looked.wait())
        watchdog.discard(goes)
        count = len(goes.at)
        for _ in range(2):
            stays.looked.clear()
            await stays.looked.wait()
    watchdog.stop()
    assert len(goes.at) == count
    assert set(stays.at) == {5}


async def test_a_stalled_loop_is_told_once() -> None:
    """The lag is the longest since it was last asked for."""
    now = [0]
    watchdog = Watchdog(asyncio.get_running_loop(), lambda: Nanoseconds(now[0]), Nanoseconds(0))
    ticks = Ticks()
    watchdog.add(ticks)
    watchdog.start()
    now[0] = 3 * NANO
    async with asyncio.timeout(5):
        await ticks.looked.wait()
    watchdog.stop()
    assert watchdog.lag() == 3 * NANO - NANO // 100
    assert watchdog.lag() == 0


async def test_a_peer_that_leaves_is_noticed_without_reading() -> None:
    """The end shows although nothing is read, and once only."""
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
    transport.pause_reading()
    hangups, gone = Hangups(loop), asyncio.Event()
    number = hangups.watch(transport, gone.set)
    there.send(b"unread")
    assert not gone.is_set()
    there.close()
    async with asyncio.timeout(5):
        await gone.wait()
    hangups.forget(number)
    hangups.close()
    transport.abort()


async def test_a_peer_that_is_forgotten_is_not_noticed() -> None:
    """Whoever reads again sees the end by itself."""
    loop = asyncio.get_running_loop()
    (here, there), (other, end) = socket.socketpair(), socket.socketpair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
    witness, _ = await loop.create_connection(asyncio.Protocol, sock=other)
    hangups, calls, seen = Hangups(loop), list[int](), asyncio.Event()
    hangups.forget(hangups.watch(transport, lambda: calls.append(1)))
    hangups.watch(witness, seen.set)
    there.close()
    end.close()
    async with asyncio.timeout(5):
        await seen.wait()
    assert calls == []
    hangups.close()
    transport.abort()
    witness.abort()
