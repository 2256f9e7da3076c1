"""A scrape costs one render, however many ask."""

import asyncio
from threading import Event
from typing import Any, cast

import pytest

from joulegate.meter.admin.pages import FORMS, FRESH, Pages
from joulegate.model import MeterStatus
from joulegate.units import Nanoseconds


class Slow:
    """An exporter whose render waits until the test says so."""

    content_types = ("text/plain",)

    def __init__(self) -> None:
        self.go = Event()
        self.frozen = 0
        self.rendered: list[str] = []

    def settled(self, record: Any) -> None: ...

    def booked(self, books: Any) -> None: ...

    def freeze(self, status: MeterStatus) -> object:
        self.frozen += 1
        return self.frozen

    def render(self, frozen: object, accept: str) -> tuple[bytes, str]:
        self.rendered.append(accept)
        assert self.go.wait(10)
        if accept == "bad":
            raise ValueError("no")
        return str(frozen).encode(), "text/plain"


class Clock:
    def __init__(self) -> None:
        self.t = 0

    def __call__(self) -> Nanoseconds:
        return Nanoseconds(self.t)


def pages(exporter: Slow, clock: Clock) -> Pages:
    return Pages(exporter, lambda: cast(MeterStatus, None), now=clock)


async def test_a_hundred_parallel_scrapes_are_one_render() -> None:
    """All wait for the same page; the loop is free meanwhile."""
    exporter = Slow()
    found = pages(exporter, Clock())
    async with asyncio.TaskGroup() as group:
        scrapes = [group.create_task(found.page("text")) for _ in range(100)]
        await asyncio.sleep(0)
        exporter.go.set()
    assert {scrape.result() for scrape in scrapes} == {(b"1", "text/plain")}
    assert (exporter.frozen, exporter.rendered) == (1, ["text"])
    found.close()


async def test_a_page_is_at_most_a_second_old() -> None:
    """Within a second the same page; after it a new one."""
    exporter, clock = Slow(), Clock()
    exporter.go.set()
    found = pages(exporter, clock)
    first = await found.page("text")
    clock.t = FRESH
    assert await found.page("text") == first
    clock.t = FRESH + 1
    assert (await found.page("text"))[0] == b"2"
    found.close()


async def test_a_scraper_that_hangs_up_takes_nothing_from_the_others() -> None:
    """The page goes on being rendered for those who wait."""
    exporter = Slow()
    found = pages(exporter, Clock())
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(found.page("text"))
        stays = group.create_task(found.page("text"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        exporter.go.set()
    assert gone.cancelled()
    assert (await stays)[0] == b"1"
    found.close()


async def test_each_format_is_rendered_once_and_a_flood_of_formats_is_bounded() -> None:
    """A scraper that invents a new ``Accept`` each time gets the plain page."""
    exporter = Slow()
    exporter.go.set()
    found = pages(exporter, Clock())
    for number in range(FORMS * 3):
        await found.page(f"form-{number}")
    assert len(exporter.rendered) == FORMS + 1
    found.close()


async def test_a_failed_render_is_told_and_tried_again() -> None:
    """An error does not stay for ever."""
    exporter, clock = Slow(), Clock()
    exporter.go.set()
    found = pages(exporter, clock)
    with pytest.raises(ValueError, match="no"):
        await found.page("bad")
    clock.t = FRESH + 1
    assert (await found.page("text"))[0] == b"2"
    found.close()
