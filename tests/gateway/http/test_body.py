"""The body of a request, read in parts."""

import asyncio

import pytest

from joulegate.gateway.http.body import READ_BUFFER, SMALL, BodyTerms, BodyTimeout, RequestBody
from joulegate.gateway.http.framing import MalformedBody
from joulegate.gateway.http.heads import request_head
from joulegate.gateway.http.timers import Watchdog
from joulegate.units import Nanoseconds


class Scene:
    """A request body whose bytes come when a test feeds them; also the client's connection."""

    def __init__(self, *, length: int | None, expect: bool = False) -> None:
        self.sent: list[bytes] = []
        self.held = False
        self.now = 0
        lines = [b"PUT / HTTP/1.1", b"Host: a"]
        lines += [b"Transfer-Encoding: chunked"] if length is None else [b"Content-Length: %d" % length]
        lines += [b"Expect: 100-Continue"] if expect else []
        watchdog = Watchdog(asyncio.get_running_loop(), self.clock, Nanoseconds(1))
        terms = BodyTerms(Nanoseconds(100), self.clock, watchdog)
        self.body = RequestBody(self, request_head(b"\r\n".join(lines)), terms)

    def clock(self) -> Nanoseconds:
        return Nanoseconds(self.now)

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    def chunk(self, data: bytes) -> None:
        assert self.body.feed(b"%x\r\n%b\r\n" % (len(data), data)) == b""
        self.body.tell()

    def end(self) -> None:
        assert self.body.feed(b"0\r\n\r\nrest") == b"rest"
        self.body.tell()

    async def all(self) -> list[tuple[bytes, bool]]:
        return [part async for part in self.body.parts()]


async def test_a_small_body_is_held_whole() -> None:
    """It can be sent again until it has been passed on in parts."""
    scene = Scene(length=5)
    heard: list[bytes] = []
    assert scene.body.feed(b"hello, next") == b", next"
    await scene.body.gather(heard=heard.append)
    assert (scene.body.small, heard) == (b"hello", [b"hello"])
    assert await scene.all() == [(b"hello", False)]
    assert scene.body.small is None


async def test_a_large_body_is_not_held() -> None:
    """What is over the bound comes in parts, the rest of them new."""
    scene = Scene(length=None)
    scene.chunk(b"x" * (SMALL + 1))
    await scene.body.gather()
    assert (scene.body.small, scene.body.complete) == (None, False)
    scene.chunk(b"rest")
    scene.end()
    assert await scene.all() == [(b"x" * (SMALL + 1), False), (b"rest", True)]


async def test_a_spooled_body_comes_back_in_order() -> None:
    """What was put into a file comes between what was read before and after."""
    scene = Scene(length=None)
    heard: list[bytes] = []
    scene.chunk(b"a" * (SMALL + 1))
    await scene.body.gather(heard=heard.append)
    scene.chunk(b"b" * 100_000)
    await scene.body.spool(lambda: len(heard) == 2, heard.append)
    scene.chunk(b"c")
    scene.end()
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
    scene.body.feed(b"a")
    scene.body.tell()
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
    sent.body.feed(b"x")
    waits.body.feed(b"xx")
    waits.body.tell()
    await sent.body.gather()
    await reading
    waits.body.go()
    assert (len(waits.sent), sent.sent) == (1, [])


async def test_more_is_not_taken_than_is_read() -> None:
    """A client is held back while its body waits for a reader, and let go on when that has read."""
    scene = Scene(length=10 * READ_BUFFER)
    scene.body.feed(b"x" * READ_BUFFER)
    assert not scene.held
    scene.body.feed(b"x")
    assert scene.held
    await scene.body.gather()
    assert not scene.held


@pytest.mark.parametrize("ending", ["end", "fail", "late"])
async def test_a_body_can_be_waited_for_without_a_task(ending: str) -> None:
    """Whoever collects it is told once: that all has come, or that it will not."""
    scene, told = Scene(length=3), list[bool]()
    scene.body.feed(b"a")
    scene.body.collect(lambda: told.append(scene.body.ended))
    scene.now = 50
    scene.body.feed(b"b")
    scene.body.tell()
    scene.body.check(Nanoseconds(149))
    assert told == []
    if ending == "end":
        scene.body.feed(b"c")
        scene.body.tell()
        assert scene.body.whole() == b"abc"
    elif ending == "fail":
        scene.body.fail(ConnectionResetError())
    else:
        scene.body.check(Nanoseconds(150))
        assert isinstance(scene.body.failure, BodyTimeout)
    scene.body.fail(MalformedBody())
    assert told == [ending == "end"]


async def test_a_failure_comes_before_what_is_left() -> None:
    """Half a body is of no use to anyone."""
    scene = Scene(length=3)
    scene.body.feed(b"a")
    scene.body.fail(ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        await scene.body.gather()


async def test_no_body_is_complete_from_the_beginning() -> None:
    """Nothing is waited for where nothing is said to come."""
    scene = Scene(length=0)
    scene.body.feed(b"")
    assert scene.body.small == b""
