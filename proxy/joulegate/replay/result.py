"""What a replay found, and its one file format."""

from typing import Any

from msgspec import Struct

from joulegate.model import Settled, SpanId, WindowBooks
from joulegate.units import Nanoseconds, seconds


class Books(Struct):
    """The books of one device over a whole trace, in microjoules."""

    counter: int = 0
    requests: int = 0
    idle: int = 0
    unattributed: int = 0

    def add(self, window: WindowBooks) -> None:
        """Add the books of one window."""
        self.counter += window.counter
        self.requests += window.requests
        self.idle += window.idle
        self.unattributed += sum(part for _, part in window.unattributed)


class Result(Struct):
    """What a replay found."""

    method: str
    requests: dict[SpanId, Settled]
    """In the order of their starts."""
    books: list[Books]
    """By the index of the device."""
    gap: Nanoseconds
    """Time whose energy is unknown, summed over devices."""


def document(result: Result) -> dict[str, Any]:
    """Return the result as the JSON document that ``docs/recording.md`` describes, keys in a fixed order."""
    return {
        "method": result.method,
        "requests": {key: _request(figure) for key, figure in result.requests.items()},
        "idle_uj": sum(books.idle for books in result.books),
        "unattributed_uj": sum(books.unattributed for books in result.books),
        "counter_uj": sum(books.counter for books in result.books),
        "gaps_s": seconds(result.gap),
        "gpus": {str(index): _device(books) for index, books in enumerate(result.books)},
    }


def _request(figure: Settled) -> dict[str, Any]:
    return {"energy_uj": figure.energy, "sigma_uj": figure.sigma, "method": figure.method.value}


def _device(books: Books) -> dict[str, int]:
    return {
        "counter_uj": books.counter,
        "requests_uj": books.requests,
        "idle_uj": books.idle,
        "unattributed_uj": books.unattributed,
    }
