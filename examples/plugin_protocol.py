"""An inference protocol of one's own: the example of docs/plugins.md.

The server answers ``POST /caption`` with ``{"captions": [...], "tokens": 12, "took_ms": 40}``, or with lines
of JSON ``{"caption": "..."}`` whose last one has ``tokens``.
"""

from msgspec.structs import replace

from joulegate.framing import Found
from joulegate.framing.values import decode, fact, milliseconds, whole, word
from joulegate.model import Asked, ServerTimings, Task
from joulegate.observing import Listener
from joulegate.ports import Headers, Observer, Route

_CAPTION = Route("caption", Task.IMAGE_CAPTIONING, dialect="plain")


class Plugin:
    """Knows the one route of this server."""

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if another protocol should look at it."""
        return _CAPTION if (method, path) == ("POST", "/caption") else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return Caption(headers, model=route.model)


class Caption(Listener):
    """Listens to one exchange."""

    wishes = frozenset({"network", "stream"})
    answers = frozenset({"tokens", "took_ms"})

    def wish(self, found: Found) -> Asked:
        """This server calls its model a network."""
        return Asked(model=word(found.members.get("network")))

    def event(self, data: bytes) -> int:
        """Accept one line of a stream: search it, and decode only the one that has the count."""
        if b'"tokens"' in data:
            line = decode(data, dict[str, object]) or {}
            self.accounts.facts = replace(self.accounts.facts, completion_tokens=fact(line.get("tokens")))
            return 0
        return len(data)

    def document(self, found: Found) -> None:
        """Accept a whole answer."""
        tokens = fact(whole(found.members.get("tokens")))
        took = milliseconds(decode(found.members.get("took_ms", b"null"), float))
        self.accounts.facts = replace(self.accounts.facts, completion_tokens=tokens)
        self.accounts.timings = ServerTimings(decode=took)
