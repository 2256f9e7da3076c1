"""Which servers cannot be asked for usage, on which of their routes. Pure.

A route of its own, because servers learn ``stream_options`` one route at a time: chat before completions.
"""

from collections.abc import Callable

from joulegate.units import NANO, Nanoseconds

LASTS = Nanoseconds(3_600 * NANO)
"""After that a server is asked once more: it may have been upgraded behind the same address."""


class UsageRefusals:
    """What is remembered of refusals."""

    def __init__(self, clock: Callable[[], Nanoseconds]) -> None:
        self._clock = clock
        self._since: dict[tuple[str, str], Nanoseconds] = {}

    def refused(self, upstream: str, route: str) -> bool:
        """Record a refusal; return whether it is news."""
        news = not self.knows(upstream, route)
        self._since[upstream, route] = self._clock()
        return news

    def knows(self, upstream: str, route: str) -> bool:
        """Whether this route of this server refuses to be asked."""
        since = self._since.get((upstream, route))
        return since is not None and self._clock() - since < LASTS

    def forget(self, upstream: str) -> None:
        """Forget a server that was away: what comes back may be another one."""
        self._since = {key: since for key, since in self._since.items() if key[0] != upstream}
