"""On which of its routes an upstream cannot be asked for usage. Pure.

A route of its own, because servers learn ``stream_options`` one route at a time: chat before completions.
"""

from collections.abc import Callable

from joulegate.units import NANO, Nanoseconds

LASTS = Nanoseconds(3_600 * NANO)
"""After that a server is asked once more: it may have been upgraded behind the same address."""


class UsageRefusals:
    """What is remembered of one upstream's refusals."""

    def __init__(self, clock: Callable[[], Nanoseconds]) -> None:
        self._clock = clock
        self._since: dict[str, Nanoseconds] = {}

    def refused(self, route: str) -> bool:
        """Record a refusal; return whether it is news."""
        news = not self.knows(route)
        self._since[route] = self._clock()
        return news

    def knows(self, route: str) -> bool:
        """Whether this route refuses to be asked."""
        since = self._since.get(route)
        return since is not None and self._clock() - since < LASTS

    def forget(self) -> None:
        """Forget all: the server was away, and what comes back may be another one."""
        self._since.clear()
