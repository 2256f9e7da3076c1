"""How many requests each upstream works on, and which were refused. Pure."""

from collections import Counter

from joulegate.gateway.policy.settings import Target


class Admission:
    """Counts requests in flight against each upstream's bound.

    The gate has no other bound: a connector's hidden one would let requests wait for ever.
    """

    def __init__(self) -> None:
        self._in_flight: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def enter(self, target: Target) -> bool:
        """Count one more, or say that the upstream is full."""
        if target.max_in_flight and self._in_flight[target.name] >= target.max_in_flight:
            return False
        self._in_flight[target.name] += 1
        return True

    def leave(self, target: Target) -> None:
        """Count one less."""
        self._in_flight[target.name] -= 1

    def refuse(self, reason: str) -> None:
        """Count a request that no upstream was asked for."""
        self._refused[reason] += 1

    def works_on(self, upstream: str) -> int:
        """Return the requests in flight to one upstream."""
        return self._in_flight[upstream]

    def total(self) -> int:
        """Return all requests in flight."""
        return self._in_flight.total()

    def in_flight(self) -> tuple[tuple[str, int], ...]:
        """Return the requests in flight by upstream."""
        return tuple(sorted(self._in_flight.items()))

    def refused(self) -> tuple[tuple[str, int], ...]:
        """Return the refused requests by reason, since the gate began."""
        return tuple(sorted(self._refused.items()))
