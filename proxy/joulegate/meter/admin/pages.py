"""An exporter's page, rendered once for all who ask within a second."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from joulegate import clock
from joulegate.model import MeterStatus
from joulegate.ports import Exporter
from joulegate.units import NANO, Nanoseconds

FRESH = Nanoseconds(NANO)
"""Age up to which a page is given again."""
FORMS = 8
"""Different ``Accept`` headers that get a page of their own for one snapshot."""


class Pages:
    """Renders off the loop, one page at a time; whoever asks meanwhile waits for the same one."""

    def __init__(
        self,
        exporter: Exporter,
        status: Callable[[], MeterStatus],
        *,
        now: Callable[[], Nanoseconds] = clock.monotonic,
    ) -> None:
        self._exporter = exporter
        self._status = status
        self._now = now
        self._thread = ThreadPoolExecutor(1, "pages")
        self._frozen: object = None
        self._frozen_at: Nanoseconds | None = None
        self._pages: dict[str, asyncio.Future[tuple[bytes, str]]] = {}

    async def page(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its content type, at most a second old."""
        if self._frozen_at is None or self._now() - self._frozen_at > FRESH:
            self._frozen_at = self._now()
            self._frozen = self._exporter.freeze(self._status())
            self._pages = {}
        key = accept if accept in self._pages or len(self._pages) < FORMS else ""
        page = self._pages.get(key)
        if page is None:
            loop = asyncio.get_running_loop()
            page = loop.run_in_executor(self._thread, self._exporter.render, self._frozen, key)
            self._pages[key] = page
        # One scraper that hangs up must not take the page away from the others.
        return await asyncio.shield(page)

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
