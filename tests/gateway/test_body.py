"""The body of a request, read in parts."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from joulegate.gateway.body import SMALL, RequestBody
from joulegate.gateway.client import BodyTimeout
from joulegate.gateway.watch import Watchdog
from joulegate.units import Nanoseconds


class Scene:
    """A request body whose bytes come when a test feeds them."""

    def __init__(self, *, length: int | None, expect: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.protocol = BaseProtocol(loop)
        self.protocol.transport = asyncio.Transport()
        self.protocol._upgraded = True  # No parser to pause: the test is the parser.
        self.payload = StreamReader(self.protocol, 2**16, loop=loop)
        self.sent: list[bytes] = []
        self.now = 0
        fields = {b"expect": b"100-Continue"} if expect else {}
        if length is not None:
            fields[b"content-length"] = b"%d" % length
        incoming: Any = SimpleNamespace(
            message=SimpleNamespace(chunked=length is None),
            payload=self.payload,
            fields=fields,
            client=SimpleNamespace(send=self.sent.append),
        )
        watchdog = Watchdog(loop, lambda: Nanoseconds(self.now), Nanoseconds(1))
        self.body = RequestBody(incoming, Nanoseconds(100), lambda: Nanoseconds(self.now), watchdog)

    async def all(self) -> list[tuple[bytes, bool]]:
        return [part async for part in self.body.parts()]


async def test_a_small_body_is_held_whole() -> None:
    """It can be sent again until it has been passed on in parts."""
    scene = Scene(length=5)
    heard: list[bytes] = []
    scene.payload.feed_data(b"hello")
    scene.payload.feed_eof()
    await scene.body.gather(heard=heard.append)
    assert (scene.body.small, heard) == (b"hello", [b"hello"])
    assert await scene.all() == [(b"hello", False)]
    assert scene.body.small is None


async def test_a_large_body_is_not_held() -> None:
    """What is over the bound comes in parts, the rest of them new."""
    scene = Scene(length=None)
    scene.payload.feed_data(b"x" * (SMALL + 1))
    await scene.body.gather()
    assert (scene.body.small, scene.body.complete) == (None, False)
    scene.payload.feed_data(b"rest")
    scene.payload.feed_eof()
    assert await scene.all() == [(b"x" * (SMALL + 1), False), (b"rest", True)]


async def test_a_spooled_body_comes_back_in_order() -> None:
    """What was put into a file comes between what was read before and after."""
    scene = Scene(length=None)
    heard: list[bytes] = []
    scene.payload.feed_data(b"a" * (SMALL + 1))
    await scene.body.gather(heard=heard.append)
    scene.payload.feed_data(b"b" * 100_000)
    await scene.body.spool(lambda: len(heard) == 2, heard.append)
    scene.payload.feed_data(b"c")
    scene.payload.feed_eof()
    parts = await scene.all()
    assert b"".join(part for part, _ in parts) == b"a" * (SMALL + 1) + b"b" * 100_000 + b"c"
    assert [part for part, new in parts if new] == [b"c"]
    assert b"".join(heard) == b"a" * (SMALL + 1) + b"b" * 100_000
    scene.body.close()


async def test_a_body_that_stalls_is_given_up() -> None:
    """The deadline is for each wait, not for the whole body."""
    scene = Scene(length=3)
    reading = asyncio.ensure_future(scene.body.gather())
    await asyncio.sleep(0)
    scene.now = 99
    scene.body.check(Nanoseconds(99))
    scene.payload.feed_data(b"a")
    while scene.body._deadline != 199:
        await asyncio.sleep(0)
    scene.body.check(Nanoseconds(198))
    await asyncio.sleep(0)
    assert not reading.done()
    scene.body.check(Nanoseconds(199))
    with pytest.raises(BodyTimeout):
        await reading


async def test_a_go_is_given_once_and_only_before_the_body() -> None:
    """A client that asked for it is told to send; one that has sent is not."""
    waits, sent = Scene(length=2, expect=True), Scene(length=1, expect=True)
    reading = asyncio.ensure_future(waits.body.gather())
    await asyncio.sleep(0)
    assert waits.sent == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    for scene in (waits, sent):
        scene.payload.feed_data(b"x")
    sent.payload.feed_eof()
    await sent.body.gather()
    waits.payload.feed_eof()
    await reading
    waits.body.go()
    assert (len(waits.sent), sent.sent) == (1, [])


async def test_no_body_is_complete_from_the_beginning() -> None:
    """Nothing is waited for where nothing is said to come."""
    assert Scene(length=0).body.small == b""
