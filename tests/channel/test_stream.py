"""Frames come out of any stream one by one."""

import asyncio

import pytest

from joulegate.channel.frames import VERSION, FrameError, Goodbye, SettledSpans, Welcome, pack, unpack_meter
from joulegate.channel.stream import FrameReader
from joulegate.model import SpanId


async def test_frames_come_one_by_one_and_then_the_end() -> None:
    """Each frame is given once, in order, and the end of the stream is an EOFError."""
    stream = asyncio.StreamReader()
    stream.feed_data(pack(Welcome("m", VERSION)) + pack(SettledSpans([SpanId("a")])))
    stream.feed_eof()
    frames = FrameReader(stream, unpack_meter)
    assert [await frames.next(), await frames.next()] == [Welcome("m", VERSION), SettledSpans([SpanId("a")])]
    with pytest.raises(EOFError):
        await frames.next()


async def test_a_frame_that_the_other_end_may_not_say_is_refused() -> None:
    """A gate's frame is no frame of a meter."""
    stream = asyncio.StreamReader()
    stream.feed_data(pack(Goodbye()))
    with pytest.raises(FrameError):
        await FrameReader(stream, unpack_meter).next()
